"""Word lists from which the invented worlds of the miniature draw their names and values.

Materials are mass nouns, places are plural, gear is countable and singular, effects are verb phrases of the third
person singular and triggers are gerund phrases, so that the patterns of `prose.py` stay grammatical.
"""

from __future__ import annotations


def _split(text: str) -> tuple[str, ...]:
    """The comma-separated entries of a list, without the line breaks around them."""
    return tuple(" ".join(entry.split()) for entry in text.split(","))


ADJECTIVES = _split("""
flooded, brittle, amber, ashen, ancient, barbed, barren, bitter, black, blackened, bleached, blessed, blighted, bloodied,
blue, blunt, bound, braided, brackish, briny, broken, bronze, burnt, carved, chalky, charred, cold, coiled, common,
copper, cracked, crimson, crooked, crumbling, crude, cursed, damp, dark, deep, desolate, dim, distant, dreary, dried,
drowned, dull, dusty, eastern, echoing, empty, etched, faded, fallen, fine, foggy, forgotten, forked, foul, fragrant,
frozen, ghostly, gilded, glassy, gleaming, gloomy, golden, gnarled, grey, green, grim, hallowed, hammered, haunted, heavy,
hidden, hollow, holy, honed, humble, hushed, icy, iron, ivory, jagged, knotted, lacquered, leaden, leafless, lonely, long,
lost, misty, moonlit, mossy, mouldy, muddy, murky, narrow, nameless, northern, old, outer, overgrown, painted, pale,
patched, pitted, plain, polished, quiet, ragged, red, ringing, rotten, rough, ruined, rusted, sacred, salted, sandy,
scarlet, scorched, sealed, secret, severed, shadowed, shallow, sharp, shattered, short, silent, silver, slender, smoky,
smooth, smouldering, sodden, solemn, sour, southern, stained, steep, stolen, stony, stormy, sunken, sunlit, tangled,
tarnished, tattered, thick, thorny, torn, twisted, unlit, veiled, violet, wandering, warm, watery, waxen, weathered,
western, wet, white, wide, wild, windy, winding, withered, wooden, worn, woven, yellow
""")

NOUNS_PLACE = _split("""
crypts, reed beds, salt caves, abbeys, alleys, arches, aqueducts, attics, bell towers, barns, barrows, bogs, boathouses,
bridges, burrows, cairns, canals, catacombs, caverns, cellars, chapels, chimneys, cisterns, cliffs, cloisters, coves,
craters, culverts, dens, docks, dovecotes, dunes, estuaries, fens, fords, forges, foundries, gardens, gatehouses, glades,
glaciers, gorges, granaries, graveyards, groves, gullies, halls, harbours, hedgerows, hilltops, hives, hollows, islets,
keeps, kilns, lagoons, libraries, lighthouses, marshes, mausoleums, meadows, middens, mills, mines, moats, moors, nests,
orchards, ossuaries, passes, peat cuttings, pine woods, pits, ponds, quarries, ravines, river caves, rookeries, ruins,
rock pools, sea caves, sewers, shafts, shipwrecks, shrines, sinkholes, springs, stables, swamps, temples, thickets,
tide pools, tombs, towers, tunnels, vaults, vineyards, warrens, watermills, wells, windmills, wine cellars
""")

MATERIALS = _split("""
cold iron, rowan ash, powdered bone, beeswax, alum, amber, antler, aspen bark, barley meal, bat guano, birch bark,
bitumen, blue clay, bog iron, bog oak, bone glue, borax, brass, brimstone, bronze, camphor, candle wax, cedar resin,
chalk, chalk dust, charcoal, cinnabar, clay, clove oil, coal, coal tar, copper, coral, cork, crystal, dragonfly dust,
driftwood, eel skin, elder wood, elm bark, ewe milk, feather down, fennel seed, fish glue, fish oil, flax, flint, fool's
gold, frankincense, garlic, ginger root, glass, goat hair, gold leaf, goose fat, granite, grave soil, green glass,
hawthorn, hazel wood, hemlock, hemp, henbane, holly, holy water, honey, horn, horsehair, indigo, iron filings,
iron ore, ivory, jade, jet, juniper, lamp oil, lapis dust, larch pitch, lavender, lead, leather, lime, linen,
lye, madder, malachite, mandrake root, maple sap, marble, marsh gas, meteor iron, milk of poppy, mint oil, mistletoe, moon
silver, moss, mother of pearl, mustard, myrrh, nettle cloth, nightshade, oak, oak gall, obsidian, oil of vitriol, onyx,
owl down, parchment, peat, peat ash, pepper, pewter, pine pitch, pine resin, pitch, plaster, porcelain, pumice, pyrite,
quartz, quicklime, quicksilver, raven down, river clay, river sand, rock salt, rose water, rosin, rosemary, rust, rye
flour, saffron, sage, salt, saltpetre, sandstone, sea glass, sea salt, seal fat, sheepskin, silk, silver, silver dust,
slate, snake venom, snow water, soap, soot, spider silk, spruce gum, starch, steel, straw, sulphur, swamp water, tallow,
tar, teak, thistledown, thyme, tin, toad skin, turpentine, verdigris, vinegar, walnut oil, whale oil, whalebone, wheat
flour, willow bark, wine, witch hazel, wolfsbane, wool, wormwood, yeast, yew wood, zinc
""")

GEAR = _split("""
spear, lantern, hook, adze, anchor, anvil, awl, axe, backpack, barrel, bell, bellows, billhook, blanket, boat hook, bow,
bowl, brazier, brush, bucket, candle, cauldron, chain, chisel, cleaver, cloak, club, compass, cord, crossbow, crowbar,
cudgel, dagger, dart, drill, drum, file, flail, flask, flute, fork, funnel, glaive, glove, grapnel, halberd, hammer,
hand axe, hand saw, harpoon, hatchet, helmet, horn, hourglass, javelin, kettle, key, knife, ladder, lance, lens, lever,
lockpick, lute, mace, mallet, map, maul, mirror, mortar, needle, net, oar, padlock, pestle, pick, pike, plane, plumb line,
pole, pouch, pulley, quill, rake, rapier, rasp, razor, rod, rope, sabre, sack, satchel, scale, scythe, shield, shovel,
sickle, sling, snare, spade, spike, spyglass, staff, sword, tent, torch, trap, trident, trowel, wedge, wheel, whetstone,
whip, whistle, winch, wrench
""")

TITLES = _split("""
Lady, Warden, Abbot, Abbess, Baron, Baroness, Bishop, Brother, Captain, Castellan, Chancellor, Count, Countess, Dame,
Deacon, Duchess, Duke, Elder, Governor, King, Lord, Marshal, Mayor, Mother, Prince, Princess, Prior, Provost, Queen,
Reeve, Regent, Sheriff, Sir, Sister, Steward
""")

GUILD_KINDS = _split("""
Guild, House, Order, Lodge, Company, Brotherhood, Sisterhood, Circle, League, Fellowship, Society, Chapter, Hand, College,
Union, Covenant
""")

COINS = _split("""
crowns, marks, pennies, sceats, angels, bezants, bits, cobs, coppers, darics, ducats, farthings, florins, groats, guilders,
halves, kettings, laurels, lunes, nobles, obols, orrins, pence, reals, royals, shards, shillings, silvers, sovereigns,
staters, suns, talents, tarens, thalers, tokens, velms
""")

ABILITIES = _split("""
Grit, Wits, Nerve, Agility, Balance, Bearing, Brawn, Charm, Courage, Craft, Cunning, Dexterity, Faith, Finesse, Fortitude,
Fortune, Grace, Guile, Heart, Insight, Instinct, Intellect, Lore, Luck, Might, Patience, Perception, Poise, Power,
Presence, Prowess, Quickness, Reason, Resolve, Sense, Speed, Spirit, Stamina, Stealth, Strength, Sway, Toughness, Vigour,
Will, Wisdom, Zeal
""")

SAVE_NOUNS = _split("""
Stone, Breath, Dread, Ash, Beasts, Binding, Blight, Blood, Charms, Cold, Curses, Darkness, Death, Dreams, Drowning, Dust,
Falling, Fear, Fire, Flame, Frost, Gaze, Ghosts, Glamour, Hunger, Ice, Iron, Lightning, Madness, Magic, Metal, Plague,
Poison, Rot, Rods, Shadow, Sleep, Smoke, Song, Spells, Storms, Thorns, Thunder, Venom, Wands, Water, Wind
""")

AREAS = ("circle", "square", "cone", "line", "cube")

EFFECTS = _split("""
may not cast spells, moves at half speed, cannot be healed, cannot speak, cannot see beyond arm's reach, hears nothing,
drops whatever is held, may not run, may not attack, always acts last, loses the next action, falls prone,
cannot stand without help, cannot read or write, may not carry a shield, may not use missile weapons, must flee by the
nearest exit, must obey the last order heard, attacks the nearest creature, cannot tell friend from foe,
cannot be surprised, cannot be seen by beasts, leaves no tracks, casts no shadow, glows in the dark, floats above the
ground, sinks in any water, breathes water, needs no food, needs no sleep, cannot sleep, wakes without rest,
forgets the last day, tells only the truth, tells only lies, speaks in a strange tongue, weeps without end, laughs at
every threat, cannot cross running water, cannot enter a temple, cannot bear bright light, takes double damage from fire,
takes half damage from blades, heals at half the usual rate, heals at twice the usual rate, loses all sense of direction,
rolls twice and keeps the lower, rolls twice and keeps the higher, fails every climbing attempt, automatically fails the
next saving throw, may not spend luck, cannot regain spells, counts as unarmoured, counts as heavily laden,
attracts wandering monsters, is ignored by the undead, is feared by animals, is shunned by townsfolk, is turned to stone,
is held in place, is unable to swim, is blind in daylight, strikes only glancing blows, misses every second attack,
shares any wound with the caster, smells of the grave, cannot wear armour, may not lead others, cannot lift heavy things,
pays twice the usual price
""")

TRIGGERS = _split("""
falling below half hit points, failing a saving throw, being struck by fire, being struck from behind, breaking an oath,
breathing marsh gas, crossing running water, crossing a threshold uninvited, cutting a living tree, disturbing a grave,
drinking from a strange fountain, drinking seawater, eating spoiled food, entering a temple armed, entering total darkness,
failing a morale check, falling from a height, falling into icy water, fighting without rest, fleeing from battle,
going a day without water, going a night without sleep, hearing a banshee wail, hearing the tolling of a bell,
killing an unarmed foe, lighting a fire indoors, looking into a cursed mirror, losing a companion, losing a duel,
losing a shield, marching all night, meeting the gaze of a serpent, opening a sealed tomb, picking up cursed gold,
reading a scroll aloud, refusing a challenge, rolling the lowest number on an attack, rolling the highest number on an
attack, seeing a ghost, sleeping in wet clothes, sleeping in armour, speaking a forbidden name, spilling salt,
standing in moonlight, stealing from a shrine, suffering a critical hit, swimming in armour, taking poison damage,
telling a lie under oath, touching a corpse, touching bare iron, waking a sleeping beast, walking barefoot on ash,
wearing a dead man's ring, whistling underground, wounding an ally, casting two spells in a row, carrying too heavy a load
""")

NAME_STARTS = _split("""
Al, Ar, Aw, Bal, Bel, Ber, Bran, Bre, Cal, Car, Cor, Cwen, Dal, Dor, Dru, Dun, Eld, Em, Er, Esk, Fal, Fen, Fir, Gal,
Gar, Gel, Gor, Gwy, Had, Hal, Har, Hel, Il, Is, Jor, Kal, Kel, Ker, Lan, Lor, Lu, Mal, Mar, Mer, Mor, Nal, Nim, Nor,
Ol, Or, Os, Per, Quen, Ral, Ren, Ros, Sal, Sel, Sor, Tal, Ter, Thal, Tor, Ul, Ur, Val, Ves, Wen, Wil, Yar, Yel, Zan
""")

NAME_MIDDLES = _split("""
a, ada, ae, ala, am, an, ana, ar, bi, de, di, do, e, el, ema, en, er, eri, ga, go, i, il, in, iri, is, la, le, li, lo,
ma, mi, na, ne, ni, o, ol, or, ori, ra, ri, ro, sa, sha, si, so, ta, the, ti, u, ul, un, va, ve, vi, ya
""")

NAME_ENDS = _split("""
bane, bert, beth, bor, brac, by, cas, cay, dan, den, dil, don, dra, dred, dric, dwyn, fast, fax, fell, gard, gast, gorn,
gund, hart, helm, hild, lac, las, leth, lin, lis, loch, lock, mar, mere, mir, mond, mund, nath, nel, nia, nor, nys, rac,
ran, reth, ric, rin, ros, sa, sel, sha, ston, tan, thas, thin, tris, van, var, ven, vis, wald, wen, wick, win, wyn, yra
""")

COMPOUND_HEADS = _split("""
gull, ember, tallow, acorn, adder, alder, amber, anvil, apple, ash, badger, barley, barrow, bell, birch, bitter, black,
blood, bog, bone, bramble, brass, briar, brine, bronze, candle, chalk, cinder, clay, cloud, coal, cobble, copper, coral,
crag, crow, dagger, dawn, deep, dew, dirge, dread, drift, dusk, dust, eel, elder, elm, fang, feather, fen, fern, flint,
fog, forge, fox, frost, gale, gallow, gate, ghost, glass, gloom, gold, goose, grave, grey, grim, hail, hare, hawk, hazel,
hearth, heath, hedge, heron, hill, hollow, honey, horn, ice, ink, iron, ivy, jade, juniper, kelp, lake, lamp, larch, lead,
leaf, lichen, lime, mallow, maple, marrow, marsh, mead, milk, mire, mist, moon, moor, moss, mould, mud, needle, nettle,
night, oak, oat, otter, owl, peat, pine, pitch, plague, rain, raven, reed, ridge, rime, river, rook, root, rose, rot,
rune, rush, rust, sable, salt, sand, sea, shade, silver, sleet, sloe, smoke, snow, soot, spark, spider, spring, star,
steel, stone, storm, straw, sulk, summer, swan, tar, thistle, thorn, thunder, tide, timber, toad, tomb, vine, wasp,
water, wax, weed, whale, willow, wind, winter, wolf, wood, worm, yew
""")

COMPOUND_TAILS = _split("""
wight, moth, lantern, warden, adder, ape, arrow, back, bane, bat, bearer, beast, beetle, bell, bird, biter, blade, bloom,
bolt, boar, bond, bow, brand, breaker, bride, brood, call, cap, caller, carver, cat, chain, charm, child, claw, cloak,
coil, crawler, creeper, crown, cup, curse, dancer, dog, drake, drinker, drum, eater, eye, fang, fiend, finger, finder,
fish, flail, flare, fly, foot, fox, gaunt, ghast, ghoul, giant, glove, goat, golem, grip, guard, hag, hammer, hand,
harp, hawk, heart, helm, herald, hide, hood, horn, hound, hulk, hunter, imp, jaw, keeper, key, knife, knight, knot, lace,
lash, leech, light, lurker, maiden, mantle, mark, mask, maw, monk, mouth, nail, needle, newt, ogre, ox, pike, piper,
prowler, quill, rat, reaver, rider, ring, rod, runner, sage, scale, seeker, serpent, shade, shell, shield, shrike, singer,
skin, skull, slug, snare, spear, spinner, spike, sprite, staff, stalker, stag, strider, sword, tail, talker, thief,
thrall, toad, tongue, tooth, troll, veil, walker, ward, watcher, weaver, whip, whisper, wing, witch, wraith, wyrm
""")

ATTRIBUTE_INVENTED = _split("""
Gleam, Thorn Rating, Tide Mark, Ash Count, Bell Note, Bite, Blood Price, Bond, Brine Index, Burden, Candle Span, Chill,
Clamour, Coil, Crow Sign, Dawn Toll, Depth Grade, Dread Value, Dusk Share, Echo, Ember Score, Favour, Flood Line, Frost
Grade, Gall, Ghost Tax, Glimmer, Gloom, Grain Share, Grave Debt, Grudge, Hearth Due, Hollow Rank, Hunger, Hush,
Ink Measure, Keening, Kinship, Knot Count, Lamp Cost, Lunar Tithe, Marrow, Mire Rating, Moon Share, Moss Age, Murk,
Oath Weight, Omen, Pallor, Pitch, Quiet, Rime Level, Root Depth, Rot Rate, Rune Number, Salt Due, Scar Count, Shade
Rank, Shimmer, Sigil Cost, Soot Grade, Sorrow, Spite, Star Sign, Sting, Stride, Tallow Tax, Temper, Tether, Thirst,
Toll Hour, Umbra, Veil Strength, Wane, Ward Value, Wax Seal, Weft, Whisper Reach, Wind Debt, Wyrd
""")

# Plain words for sentences that mean nothing: prose that a model must read past.
ENDINGS = ("s", "er", "ers", "ing", "ings", "ling", "less", "ful", "y", "ed", "let", "ness", "ish", "en", "ly", "ward")

COMMON = """
    a about above across after again against age ago air all alone along already also always among an and anger animal
    another answer any anybody apart apple arm around as ask asleep at away back bad bag bake ball bank bare bargain
    bark barn barrel basket bath be bean bear because become bed bee been before begin behind believe bell below belt
    bench beneath beside best better between beyond big bird bite bitter black blame blanket blind blood blow blue
    board boat body boil bold bone book boot borrow both bottle bottom bow bowl box boy branch bread break breath
    brick bridge bright bring broken broom brother brown brush build burn bury busy but butter button buy by cabin
    cake call calm came can candle cap captain care careful carry cart cat catch cause chain chair change cheap cheese
    cheer chest chicken chief child chimney choose church circle city clay clean clerk climb clock close cloth cloud
    coal coast coat cold collect come common company cook cool copper corn corner could count country courage course
    court cover cow cross crowd cruel cry cup curious cut damp dance danger dare dark daughter day dead dear debt deck
    deep did die dinner dirt dish ditch do dock does dog done door doubt down dozen drag draw dream dress drink drive
    drop drown dry duck dull during dusk dust duty each ear early earn earth east easy eat edge egg either elbow else
    empty end enemy enough enter even evening ever every exact except eye face fact fair fall false family far farm
    fast fat father fault favour fear feather feed feel feet fence ferry few field fierce fight fill find fine finger
    finish fire first fish fit flame flat fleet flesh float flood floor flour flow flower fly fog fold follow fond
    food fool foot for forest forget fork form forward found four free fresh friend from frost fruit full funny garden
    gate gather gave gentle ghost gift girl give glad glass go goat god gold gone good goose grain grand grass grave
    great green grey ground group grow guard guess guest guide habit had hair half hall hammer hand hang happen happy
    harbour hard harm has hat hate have he head hear heart heat heavy held help hen her here hide high hill him his
    hold hole holiday home honest hook hope horse hot hour house how hundred hungry hunt hurry hurt ice idea if ill in
    inch ink inn inside instead into iron island it its jar join joke journey joy judge jump just keep kettle key kick
    kind king kitchen knee knew knife knock knot know known ladder lady lake lamp land lantern large last late laugh
    law lay lazy lead leaf lean learn least leather leave left leg lend less lesson let letter level lid lie life lift
    light like line lion lip list listen little live load lock long look loose lose loss lost lot loud love low luck
    lunch made mail make man many map mark market master may me meal mean measure meat meet melt mend mercy met middle
    might mile milk mill mind mine minute miss mist mistake mix money month moon more morning most mother mountain
    mouse mouth move much mud music must my nail name narrow near neat neck need needle neighbour neither nest net
    never new news next nice night nine no nobody nod noise none nor north nose not note nothing notice now number oak
    oar obey ocean odd of off offer often oil old on once one onion only open or orange order other our out oven over
    owe owl own ox pack page paid pain paint pair pale pan paper part pass past path pay pea peace pear pen people
    pepper perhaps person pick picture pie piece pig pile pillow pin pipe place plain plan plant plate play please
    plenty pocket poem point poor porridge port post pot pour power praise pray price pride promise proof proper proud
    prove pull punish push put quarrel queen question quick quiet quite rabbit rain raise ran rare rat rather reach
    read ready real reason red refuse remember rent repair reply rest return rice rich ride right ring ripe rise river
    road roar roast rob rock roll roof room root rope rose rough round row rub rude ruin rule run rush sack sad safe
    said sail sailor salt same sand sat save saw say scale school sea season seat second secret see seed seem seen
    sell send serve set seven shade shadow shake shall shape share sharp she sheep shell shelf shine ship shirt shoe
    shop shore short should shoulder shout show shut sick side silence silver simple sing sink sister sit six size
    skin sky sleep slip slow small smell smile smoke smooth snake snow so soap soft sold soldier some somebody son
    song soon sorrow sorry soul sound soup sour south spare speak spend spill spirit spoil spoon spread spring square
    stair stand star start station stay steal steam steel step stick still sting stir stone stood stop store storm
    story stove straight strange straw stream street string strong such sudden sugar suit summer sun supper sure
    surprise swear sweet swim table tail take tale talk tall tame taste tax tea teach tear tell ten tent than thank
    that the their them then there these they thick thief thin thing think third thirsty this those though thread
    three throat through throw thumb thunder thus tide tie tight till timber time tin tired to toe together told
    tomorrow tongue too took tooth top torn touch toward town toy trade train trap travel tree tribe trick trouble
    true trunk trust truth try turn twelve twenty twice two ugly uncle under understand until up upon us use useful
    usual valley very village visit voice wait wake walk wall want war warm was wash waste watch water wave wax way we
    weak wealth wear weather week weep weight welcome well went were west wet what wheat wheel when where whether
    which while whisper white who whole whose why wide wife wild will wind window wine wing winter wipe wire wise wish
    with within without woman wonder wood wool word work world worm worry worse worst would wound wrap write wrong
    yard year yellow yes yesterday yet you young your
""".split()
