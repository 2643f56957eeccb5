"""Sentence patterns of the invented rulebooks: prose that states a value, filler that states none, and headings.

In a pattern `{E}` is a mention that opens a sentence ("The Gullwight", "Emberlace"), `{e}` a mention inside one and
`{v}` the value. Patterns never put "a" before a number and never open with a value that starts in lower case, so that
every value of the attribute's shape fits. Generic patterns also take `{a}`, the attribute as written, and `{al}`, the
same in lower case. Fillers may use `{E}`, `{e}`, `{adj}`, `{material}`, `{place}`, `{gear}`, `{person}`, `{ability}`
and `{name}`.
"""

from __future__ import annotations


def _lines(text: str) -> tuple[str, ...]:
    """The lines of a block of patterns, one pattern each."""
    return tuple(line.strip() for line in text.strip().splitlines())


SENTENCES: dict[tuple[str, str], tuple[str, ...]] = {
    ("monster", "Armour Class"): _lines("""
        {E} has an armour class of {v}.
        To wound {e}, an attack must equal its armour class of {v}.
        Thanks to a thick hide, {e} enjoys armour class {v}.
        {v} is the armour class of {e}, whatever the light.
        Its armour class is {v}, and no shield alters it.
        It counts as armour class {v} against every blow.
        Any roll of {v} or more is enough to strike it.
        Attackers who fail to roll {v} find that their blades slide off its hide.
    """),
    ("monster", "Hit Dice"): _lines("""
        {E} has hit dice of {v}.
        The referee rolls {v} for the hit dice of {e}.
        Before the fight begins, roll {v} to learn how much punishment {e} can take.
        With hit dice of {v}, {e} is no easy prey.
        Its hit dice are {v}, rolled afresh for each one met.
        It has hit dice of {v}, as scholars have long agreed.
        Roll {v} for its hit points.
        Its vigour is found by rolling {v} and adding up the dice.
    """),
    ("monster", "Movement"): _lines("""
        {E} has a movement of {v} each turn.
        In one round {e} covers {v}, even over broken ground.
        The movement of {e} is {v}.
        {v} is as far as {e} can go in a single round.
        Its movement is {v}.
        It moves {v} in a round when it is not burdened.
        They can cross {v} before anyone else has drawn a blade.
        When it hunts, its movement rate is {v}.
    """),
    ("monster", "Damage"): _lines("""
        {E} deals {v} damage with each successful attack.
        A blow from {e} costs its victim {v} hit points.
        The damage done by {e} is {v}.
        Those caught by {e} suffer damage of {v}.
        Its damage is {v}, rolled anew for every strike.
        Each of its attacks causes {v} points of damage.
        It hits for {v}.
        When its attack succeeds, roll {v} for damage.
    """),
    ("monster", "Morale"): _lines("""
        {E} has a morale of {v}.
        The morale of {e} is {v}, so the referee should roll whenever the fight turns against it.
        In desperate straits {e} checks against a morale score of {v}.
        {v} is the morale of {e}, alone or in company.
        Its morale is {v}.
        It fights on until a roll exceeds its morale of {v}.
        Its courage is rated at {v}, and it breaks when the dice show more.
        They have morale {v}, even when their leader falls.
    """),
    ("monster", "Number Appearing"): _lines("""
        The number appearing of {e} is {v}.
        When {e} is met in the wild, the number appearing is {v}.
        Roll {v} to see how many of {e} come forth.
        When {e} comes in force, the number appearing is found by rolling {v}.
        Its number appearing is {v}.
        They are seldom alone, for the number appearing is {v}.
        They come in groups of {v}.
        Roll {v} to learn how many of them there are.
    """),
    ("monster", "Lair"): _lines("""
        {E} makes its lair in {v}.
        Hunters know that the lair of {e} is to be sought in {v}.
        Of all dwellings {e} prefers {v}.
        Among {v} lies the lair of {e}.
        Its lair is found in {v}.
        It makes its home in {v} and rarely strays.
        They lair in {v}, far from honest folk.
        By day it sleeps in {v}.
    """),
    ("monster", "Weakness"): _lines("""
        {E} has one weakness, which is {v}.
        The weakness of {e} is {v}.
        Wise hunters carry {v} when they go after {e}.
        Only {v} is dreaded by {e}.
        Its weakness is {v}.
        It cannot endure the touch of {v}.
        They have a weakness to {v}, as every village child knows.
        Nothing harms it so surely as {v}, its only weakness.
    """),
    ("monster", "Treasure"): _lines("""
        {E} guards treasure worth {v}.
        The treasure of {e} comes to {v}.
        Whoever slays {e} may carry off {v}.
        Buried near the nest of {e} is treasure to the value of {v}.
        Its treasure amounts to {v}.
        It hoards {v} and sleeps upon its wealth.
        They keep treasure of {v} hidden from thieves.
        A search of its den turns up {v} in treasure.
    """),
    ("monster", "Experience"): _lines("""
        {E} is worth {v} of experience.
        Defeating {e} earns the party experience of {v}.
        The experience for {e} is {v}, shared among the survivors.
        {v} is the award for overcoming {e}.
        Its defeat brings {v} of experience.
        It yields experience of {v} when slain or driven off.
        Those who outwit it gain {v}.
        For each of them that is beaten, award experience of {v}.
    """),
    ("spell", "Circle"): _lines("""
        {E} is a spell of circle {v}.
        Magicians place {e} in circle {v}.
        The circle of {e} is {v}.
        Only casters who have mastered circle {v} may learn {e}.
        Its circle is {v}.
        It belongs to circle {v} and is copied into books of that rank.
        It is counted among the spells of level {v}.
        Novices wait until they reach circle {v} before they attempt it.
    """),
    ("spell", "Range"): _lines("""
        {E} has a range of {v}.
        The caster of {e} must stand within {v} of the target.
        The range of {e} is {v}.
        Beyond {v}, {e} fades into harmless sparks.
        Its range is {v}.
        It reaches {v} from the caster's hand.
        It has a range of {v}, provided the target is in plain sight.
        A target further away than {v} is safe from it.
    """),
    ("spell", "Duration"): _lines("""
        {E} has a duration of {v}.
        Once cast, {e} lasts for {v}.
        The duration of {e} is {v}.
        For {v} after the casting, {e} remains in force.
        Its duration is {v}.
        It lasts {v} and then ends without warning.
        Unless it is dispelled, its duration is {v}.
        After {v} it fades away.
    """),
    ("spell", "Reagent"): _lines("""
        {E} needs {v} as its reagent.
        The reagent for {e} is {v}.
        No one can cast {e} without some {v}.
        A careful magician sets aside {v} as the reagent of {e}.
        Its reagent is {v}, used up in the casting.
        It calls for {v} as a reagent.
        It consumes {v} each time it is cast.
        Its words have no power unless {v} is burned while they are spoken.
    """),
    ("spell", "Saving Throw"): _lines("""
        {E} allows a saving throw, namely a {v}.
        The saving throw against {e} is {v}.
        A target may resist {e} with a {v}.
        {v} is the saving throw that {e} permits.
        Its saving throw is {v}.
        It is resisted by a {v}.
        The victim may attempt a {v} to shrug it off.
        Its saving throw is always {v}, whoever casts it.
    """),
    ("spell", "Area"): _lines("""
        {E} has as its area one {v}.
        The area of {e} is one {v}.
        All creatures within one {v} are caught by {e}.
        The caster of {e} chooses one {v} as the area.
        Its area is one {v}.
        It fills one {v}.
        It affects everyone in its area, which is one {v}.
        Friend and foe alike are touched by it inside one {v}.
    """),
    ("spell", "Casting Time"): _lines("""
        {E} has a casting time of {v}.
        The casting time of {e} is {v}.
        The caster needs {v} to complete {e}.
        After a casting time of {v}, {e} takes hold.
        Its casting time is {v}.
        It takes {v} to cast.
        It demands {v} of chanting without a pause.
        Its casting time of {v} cannot be shortened.
    """),
    ("spell", "Damage"): _lines("""
        {E} deals {v} damage.
        The damage of {e} is {v}.
        Anyone struck by {e} loses {v} hit points.
        When {e} finds its mark, roll {v} for damage.
        Its damage is {v}.
        It inflicts {v} points of damage on its target.
        It burns for {v}, however strong the caster.
        Its victims suffer damage of {v}.
    """),
    ("item", "Price"): _lines("""
        {E} has a price of {v}.
        In most markets {e} costs {v}.
        The price of {e} is {v}.
        For {v} a buyer may take home {e}.
        Its price is {v}.
        It sells for {v}, and few dealers will haggle.
        They change hands at a price of {v}.
        A fair merchant asks {v} for it.
    """),
    ("item", "Weight"): _lines("""
        {E} has a weight of {v}.
        The weight of {e} is {v}.
        Whoever carries {e} is burdened by a further {v}.
        On the scales {e} comes to {v}.
        Its weight is {v}.
        It weighs {v}.
        It adds a weight of {v} to any pack.
        Porters grumble that it weighs {v}.
    """),
    ("item", "Damage"): _lines("""
        {E} does {v} damage.
        The damage of {e} is {v}.
        A hit with {e} takes away {v} hit points.
        In trained hands {e} deals damage of {v}.
        Its damage is {v}.
        It inflicts {v} points of damage on a hit.
        Roll {v} when it strikes home.
        Used in anger, it causes {v} damage.
    """),
    ("item", "Material"): _lines("""
        {E} is made of {v}.
        The material of {e} is {v}.
        Smiths fashion {e} from {v}.
        The proper material for {e} is {v}, and copies in anything else are worthless.
        Its material is {v}.
        It is wrought from {v}.
        It is made from {v}, a material that few can work well.
        Only {v} is used in making it.
    """),
    ("item", "Maker"): _lines("""
        {E} has {v} as its maker.
        The maker of {e} is {v}.
        The seal upon {e} is that of {v}.
        Every example of {e} was made by {v}.
        Its maker is {v}.
        It is the work of {v}.
        It bears the stamp of its maker, {v}.
        No workshop but that of {v} may produce it.
    """),
    ("item", "Reach"): _lines("""
        {E} has a reach of {v}.
        The reach of {e} is {v}.
        A fighter armed with {e} can touch a foe {v} away.
        At {v}, the reach of {e} is at its end.
        Its reach is {v}.
        It extends {v} from the hand of the bearer.
        It has a reach of {v}, measured from the wielder.
        A foe standing within {v} can be touched with it.
    """),
    ("item", "Charges"): _lines("""
        {E} holds {v} charges.
        When new, {e} has {v} charges.
        The number of charges in {e} is {v}.
        {v} charges are stored within {e}, and each use spends one.
        It has {v} charges.
        It can be used {v} times before its power is gone.
        Its charges number {v}.
        Its power fails after {v} uses.
    """),
    ("item", "Hardness"): _lines("""
        {E} has a hardness of {v}.
        The hardness of {e} is {v}.
        A blow that does less than {v} damage leaves {e} unmarked.
        Against axes and hammers {e} counts as hardness {v}.
        Its hardness is {v}.
        It has hardness {v}, so it seldom breaks.
        It withstands any blow of less than {v}.
        Those who would break it must overcome a hardness of {v}.
    """),
    ("retainer", "Wage"): _lines("""
        {E} asks a wage of {v}.
        The wage of {e} is {v}, paid in advance.
        An employer pays {e} {v} each month.
        For a wage of {v}, {e} will follow any honest captain.
        The wage they expect is {v}.
        They serve for {v} a month and their keep.
        Its wage is {v}.
        They will not stir from the tavern for less than {v}.
    """),
    ("retainer", "Loyalty"): _lines("""
        {E} has a loyalty of {v}.
        The loyalty of {e} is {v}.
        When danger looms, the referee tests {e} against a loyalty of {v}.
        In peril {e} stays as long as no roll exceeds {v}.
        Their loyalty is {v}.
        They begin service with a loyalty score of {v}.
        Its loyalty is {v} unless it has been mistreated.
        Their devotion to an employer is rated at {v}.
    """),
    ("retainer", "Guild"): _lines("""
        {E} belongs to {v}.
        The guild of {e} is {v}.
        All contracts with {e} are sealed by {v}.
        Whoever wishes to hire {e} must apply to {v}, the guild concerned.
        Their guild is {v}.
        They are sworn members of {v}.
        Its guild is {v}, which keeps a share of the pay.
        They answer to {v} before any employer.
    """),
    ("retainer", "Notice"): _lines("""
        {E} must be given notice of {v}.
        The notice due to {e} is {v}.
        An employer who dismisses {e} does so {v} beforehand.
        Before leaving service {e} gives {v} notice.
        Their notice is {v}.
        They leave only when notice of {v} has been served.
        Its notice is {v}, on either side.
        They may be dismissed with {v} of warning.
    """),
    ("retainer", "Weapon"): _lines("""
        {E} has as a weapon the {v}.
        The weapon of {e} is the {v}.
        In battle {e} wields the {v}.
        The {v} is the customary weapon of {e}.
        Their weapon is the {v}.
        They fight with the {v} and scorn all else.
        Its weapon is the {v}.
        They are never seen without the {v} at their side.
    """),
    ("retainer", "Hit Dice"): _lines("""
        {E} has hit dice of {v}.
        The hit dice of {e} are {v}.
        Roll {v} to find the hit points of {e}.
        With hit dice of {v}, {e} can face a fair fight.
        Their hit dice are {v}.
        They have hit dice of {v}.
        Its hit dice are {v}, rolled on the day of hiring.
        Roll {v} to learn how many wounds they can bear.
    """),
    ("retainer", "Limit"): _lines("""
        {E} has a limit of {v} to a party.
        The limit for {e} is {v}.
        A party may employ {e} only up to a limit of {v}.
        At most {v} of {e} will serve the same master.
        Their limit is {v}.
        They observe a limit of {v} in any one company.
        No captain may hire more than {v} of them.
        Its limit is {v}, whatever pay is offered.
    """),
    ("check", "Target Number"): _lines("""
        {E} has a target number of {v}.
        The target number for {e} is {v}.
        To succeed at {e}, the player must roll {v} or more.
        {v} is the target number of {e}.
        Its target number is {v}.
        It succeeds on a total of {v} or higher.
        It is rolled against a target number of {v}.
        Any total below {v} means that it has failed.
    """),
    ("check", "Ability"): _lines("""
        {E} is rolled with {v}, the ability it relies on.
        The ability used for {e} is {v}.
        Add {v} to the roll when attempting {e}.
        {v} is the ability that governs {e}.
        Its ability is {v}.
        It relies on the ability of {v}.
        It draws upon {v} above all else.
        They who lack {v} seldom succeed at it.
    """),
    ("check", "Time"): _lines("""
        {E} takes a time of {v}.
        The time needed for {e} is {v}.
        A character attempting {e} is busy for {v}.
        After {v}, the outcome of {e} is known.
        Its time is {v}.
        It takes {v}, whether it succeeds or not.
        It requires {v} of time and steady hands.
        It cannot be done in less than {v}.
    """),
    ("check", "Penalty"): _lines("""
        {E} carries a penalty of {v} in the dark.
        The penalty for {e} is {v} when the character is hurried.
        Those who attempt {e} without training subtract {v} from the roll.
        Under fire, {e} suffers a penalty of {v}.
        Its penalty is {v}.
        It is made with a penalty of {v} if the tool is missing.
        It bears a penalty of {v} in bad weather.
        Lower the total by {v} when it is tried without preparation.
    """),
    ("check", "Tool"): _lines("""
        {E} calls for one tool, the {v}.
        The tool for {e} is the {v}.
        Nobody tries {e} without the {v}.
        The {v} is the tool that {e} demands.
        Its tool is the {v}.
        It requires the {v} as a tool.
        It cannot be attempted unless the {v} is at hand.
        Its proper tool is the {v}, in good repair.
    """),
    ("check", "Die"): _lines("""
        {E} is rolled on one die, the {v}.
        The die for {e} is the {v}.
        Players roll a {v} when they attempt {e}.
        For {e}, reach for the {v}.
        Its die is the {v}.
        It uses the {v} as its die.
        It is decided by the throw of a {v}.
        They who try it roll a {v}.
    """),
    ("hazard", "Damage"): _lines("""
        {E} deals {v} damage.
        The damage from {e} is {v}.
        A careless explorer who meets {e} loses {v} hit points.
        Roll {v} for the damage done by {e}.
        Its damage is {v}.
        It inflicts {v} points of damage on whoever sets it off.
        It hurts for {v}.
        Its victims take damage of {v} at once.
    """),
    ("hazard", "Saving Throw"): _lines("""
        {E} allows a saving throw, which is a {v}.
        The saving throw against {e} is {v}.
        Whoever meets {e} may attempt a {v}.
        {v} is the saving throw that guards against {e}.
        Its saving throw is {v}.
        It is avoided by a successful {v}.
        It permits a saving throw, namely {v}.
        A nimble or lucky victim escapes it with a {v}.
    """),
    ("hazard", "Spotting Number"): _lines("""
        {E} has a spotting number of {v}.
        The spotting number of {e} is {v}.
        An explorer who rolls {v} or more notices {e} in time.
        {v} is the spotting number for {e}.
        Its spotting number is {v}.
        It is seen beforehand on a roll of {v} or higher.
        It has a spotting number of {v} by torchlight.
        Those who do not roll at least {v} walk straight into it.
    """),
    ("hazard", "Reset Time"): _lines("""
        {E} has a reset time of {v}.
        The reset time of {e} is {v}.
        Once it has done its work, {e} is ready again after {v}.
        A party has {v} to pass before {e} is dangerous once more.
        Its reset time is {v}.
        It needs {v} before it can strike again.
        It has a reset time of {v}, counted from the last victim.
        It lies harmless for {v} and is then as deadly as before.
    """),
    ("hazard", "Remedy"): _lines("""
        {E} has a known remedy in {v}.
        The remedy for {e} is {v}.
        Those harmed by {e} should be treated with {v}.
        Only {v} undoes the work of {e}.
        Its remedy is {v}.
        It is made safe with {v}.
        It has but one remedy, {v}.
        Its harm is eased by a liberal use of {v}.
    """),
    ("hazard", "Area"): _lines("""
        {E} has as its area one {v}.
        The area of {e} is one {v}.
        Everyone standing within one {v} is exposed to {e}.
        Mark out one {v} as the area of {e}.
        Its area is one {v}.
        It covers one {v}.
        It threatens all who stand in its area of one {v}.
        Outside one {v} nobody need fear it.
    """),
    ("hazard", "Experience"): _lines("""
        {E} is worth {v} of experience.
        Overcoming {e} brings experience of {v}.
        The experience for {e} is {v}.
        {v} is the reward for getting safely past {e}.
        Its experience award is {v}.
        It earns the party {v} of experience.
        It yields {v} to those who disarm it.
        When it has been passed or disarmed, grant experience of {v}.
    """),
    ("place", "Ruler"): _lines("""
        {E} has {v} as its ruler.
        The ruler of {e} is {v}.
        All who dwell in {e} bow to {v}.
        {v} is the ruler of {e}.
        Its ruler is {v}.
        It is governed by {v}.
        It owes obedience to its ruler, {v}.
        Its laws are made by {v} alone.
    """),
    ("place", "Population"): _lines("""
        {E} has a population of {v}.
        The population of {e} is {v}.
        At the last count {e} held {v} souls.
        {v} is the population of {e}, not counting guests.
        Its population is {v}.
        It is home to {v} people.
        It has a population of {v}, by the reckoning of the tax clerks.
        Within its walls live {v} inhabitants.
    """),
    ("place", "Toll"): _lines("""
        {E} takes a toll of {v}.
        The toll at {e} is {v}.
        Travellers who enter {e} pay {v} at the gate.
        For a toll of {v}, {e} opens its gates to any wagon.
        Its toll is {v}.
        It demands {v} from every cart that passes.
        It levies a toll of {v}, by day or by night.
        Its gatekeepers let nobody through for less than {v}.
    """),
    ("place", "Garrison"): _lines("""
        {E} has a garrison of {v}.
        The garrison of {e} is {v} strong.
        In time of war {e} is defended by {v} soldiers.
        {v} is the strength of the garrison at {e}.
        Its garrison numbers {v}.
        It keeps a garrison of {v} on its walls.
        It is held by {v} armed men and women.
        Its garrison is {v}, well fed and badly paid.
    """),
    ("place", "Founded"): _lines("""
        {E} was founded in the year {v}.
        Chronicles say that {e} was founded in {v}.
        The first stone of {e} was laid in the year {v}.
        In the year {v}, {e} was founded by settlers.
        It was founded in {v}.
        It dates from the year {v}.
        Its charter says that it was founded in {v}.
        They raised its first houses in the year {v}.
    """),
    ("place", "Export"): _lines("""
        {E} has one great export, {v}.
        The export of {e} is {v}.
        Merchants come to {e} to buy {v}.
        The trade in {v} has made {e} rich.
        Its export is {v}.
        It sends {v} to every port on the coast.
        It lives by its export of {v}.
        Its chief export is {v}, loaded on barges at dawn.
    """),
    ("place", "Feast"): _lines("""
        {E} holds its feast in {v}.
        The feast of {e} falls in {v}.
        Pilgrims crowd the streets of {e} every {v}.
        {v} is the month in which {e} keeps its feast.
        Its feast is held in {v}.
        It celebrates its great feast in {v}.
        It hangs out garlands in {v} and feeds all comers.
        Its feast comes round each {v}.
    """),
    ("term", "Effect"): _lines("""
        {E} has one effect: the victim {v}.
        The effect of {e} is that the sufferer {v}.
        A character under {e} {v}.
        While {e} lasts, the one affected {v}.
        Its effect is that the character {v}.
        Anyone who suffers from it {v}.
        It has this effect: the bearer {v}.
        Whoever falls under it {v}.
    """),
    ("term", "Duration"): _lines("""
        {E} has a duration of {v}.
        The duration of {e} is {v}.
        A character is subject to {e} for {v}.
        After {v}, {e} passes of its own accord.
        Its duration is {v}.
        It lasts for {v}.
        It has a duration of {v} unless it is cured.
        It wears off after {v}.
    """),
    ("term", "Remedy"): _lines("""
        {E} has a remedy in {v}.
        The remedy for {e} is {v}.
        Healers treat {e} with {v}.
        Nothing but {v} brings relief from {e}.
        Its remedy is {v}.
        It is cured by {v}.
        It has only one remedy, which is {v}.
        Its grip is loosened by {v}.
    """),
    ("term", "Penalty"): _lines("""
        {E} imposes a penalty of {v}.
        The penalty for {e} is {v}.
        Those under {e} subtract {v} from every roll.
        With {e} comes a penalty of {v} to all checks.
        Its penalty is {v}.
        It brings a penalty of {v} on attacks and saves.
        It lowers every roll by {v}.
        Its penalty of {v} applies to each check.
    """),
    ("term", "Trigger"): _lines("""
        {E} has as its trigger {v}.
        The trigger of {e} is {v}.
        A character comes under {e} by {v}.
        Most often it is {v} that brings on {e}.
        Its trigger is {v}.
        It is brought on by {v}.
        It has a single trigger, namely {v}.
        It often follows from {v}.
    """),
}

GENERIC_SENTENCES: tuple[str, ...] = _lines("""
    {E} has this {al}: {v}.
    The {al} of {e} is {v}.
    For {e}, the {al} is {v}.
    As for {al}, {e} is listed with {v}.
    The entry for {e} gives its {al} as {v}.
    Under "{a}" the book writes {v} for {e}.
    Sages who studied {e} set down its {al} as {v}.
    {E} is known to have the following {al}: {v}.
    With {v} as its {al}, {e} stands apart.
    Referees should note that the {al} of {e} is {v}.
    When the question of {al} arises, use {v} for {e}.
    {a} for {e}: {v}.
    {E} is recorded under {al} with the entry {v}.
    The rules give {v} as the {al} of {e}.
""")

FILLERS: tuple[str, ...] = _lines("""
    Much has been written about {e}, and little of it is true.
    {E} appears in many old songs.
    Few have seen {e} and told the tale.
    Opinions about {e} differ from town to town.
    The oldest account of {e} is found in a letter by {person}.
    Children in the hill country make rhymes about {e}.
    {E} was first described by the scribe {name}.
    {person} once lost a wager over {e}.
    Ask three sages about {e} and you will hear four answers.
    The referee may adapt {e} to suit the campaign.
    {E} should be used sparingly, so that it stays strange.
    Nobody remembers who first wrote of {e}.
    Players who know {e} from an earlier game should keep silent.
    {E} is best introduced by rumour before it is met in play.
    There is a carving of {e} above the door of the old library.
    Some confuse {e} with older things of a similar name.
    The common folk seldom speak of {e} after dark.
    A traveller from {name} swore that {e} was only a story.
    Beginners often forget {e} in the heat of the moment.
    The notes on {e} below replace those of earlier books.
    {E} is a favourite of experienced referees.
    In the northern tongue {e} has another name.
    It is said that {person} knows more of {e} than any living soul.
    What follows is all that is known for certain about {e}.
    {E} has given rise to more arguments than any other subject in this chapter.
    The {adj} road leads down to the harbour.
    The same {gear} hangs above the hearth of every inn in the valley.
    The smell of {material} lingers in the corridor.
    {person} keeps the key to the lower vault.
    Old maps show {place} beyond the river.
    The people of {name} trust neither kings nor weather.
    Beneath the floor lie {place} that no one has mapped.
    Merchants pay well for {material} in the spring.
    A character who has lost the {gear} must borrow one or turn back.
    Test {ability} when the ground gives way.
    {ability} is of little use against hunger.
    A high score in {ability} helps in many ways.
    The tower of {name} fell in a single night.
    {person} rewards honest service and punishes sloth.
    Rumours speak of {place} full of bones.
    The walls are smeared with {material}.
    On the altar lie one {gear} and some {material}.
    Nobody has entered the {adj} gate since the war.
    The servants of {person} wear grey.
    A trader named {name} buys whatever the party brings home.
    The {adj} river floods twice a year.
    When in doubt, let the player roll {ability}.
    The guide will go no further than {place}.
    Every apprentice learns to handle {material} with care.
    {person} has offered a reward for the missing {gear}.
    The bridge at {name} is watched by day and night.
    In the {adj} chapel a single candle burns.
    The scent of {material} keeps insects away.
    Stories from {name} are always a little longer than the truth.
    The door is barred from within by one stout {gear}.
    {ability} improves only with long practice.
    Travellers avoid {place} when the moon is dark.
    The armies of {person} never crossed the mountains.
    There is no law against carrying your {gear} in town.
    The {adj} stair winds down into silence.
    A cart full of {material} blocks the lane.
    The map shows the {gear} drawn beside the well.
    {name} was a village once, before the sea took it.
    At the sign of the {gear} a bed is always free.
    Those with little {ability} should stay close to the fire.
    The referee describes the scene and the players say what they do.
    The referee has the last word on every rule.
    Players speak for their characters and nobody else.
    A good referee listens before rolling the dice.
    Roll only when the outcome is in doubt.
    Dice should be rolled in the open.
    A rule that spoils the game should be changed.
    Play begins when everyone has a character.
    A game needs a referee and at least two players.
    The youngest player rolls first.
    Each player keeps a record of wounds, wealth and friends.
    Write names in pencil, for heroes are short-lived.
    A turn is about ten minutes of game time.
    A round is a matter of seconds.
    Ten rounds of fighting feel longer than they are.
    In each round every character may move and act once.
    Actions are declared before initiative is rolled.
    The side that wins initiative acts first.
    Ties in initiative mean that both sides act together.
    Initiative is rolled anew at the start of each round.
    A surprised character cannot act in the first round.
    Surprise is rare in open country by daylight.
    A character may delay and act later in the round.
    Combat ends when one side flees, yields or falls.
    Missiles are loosed before blades are crossed.
    Shooting into a melee may hit a friend.
    A natural twenty always hits.
    A natural one always misses.
    To attack, roll the die and add any bonus.
    Compare the total with the armour of the target.
    If the attack hits, roll for damage.
    Damage is taken from hit points.
    Hit points measure luck as much as flesh.
    A character without hit points is dying.
    A dying character can be saved by quick hands.
    Death is the end for most adventurers.
    The dead should be buried before the next sunset.
    Lost hit points return slowly.
    A night of rest restores a little strength.
    A week in a warm bed heals most wounds.
    Rest is impossible in wet armour.
    Without food or water nobody recovers.
    Armour makes its wearer harder to hurt.
    Heavy armour slows the march.
    Leather armour is quiet and cheap.
    A shield protects one side only.
    Armour must be oiled or it rusts.
    Plate armour is made to measure.
    Helmets dull the hearing.
    A dented breastplate still turns a blade.
    Encumbrance is the sum of all that is carried.
    A burdened character moves slowly and tires soon.
    Coins are heavier than they look.
    Keep a list of what each mule carries.
    Rope is the best friend of the explorer.
    A torch burns for about an hour.
    Torches go out in strong wind.
    A lantern can be hooded in a moment.
    Oil may be thrown as a weapon.
    Without light nobody can read a map.
    Darkness is the first danger of any dungeon.
    Every dungeon was built for a reason.
    A dungeon has more ways in than are shown on the map.
    Doors in dungeons are stuck more often than locked.
    Listening at doors takes patience.
    Secret doors are found by tapping and measuring.
    A wandering monster may appear at any time.
    Noise attracts unwelcome guests.
    The deeper levels are the more dangerous ones.
    Mapping is the task of one player.
    The map is drawn from what the characters see.
    Traps are placed where the greedy will tread.
    A pit may be covered with canvas and dust.
    A pole is useful for testing the floor.
    The ceiling should be watched as well.
    Bad air puts out candles before it kills.
    Water finds its way into every tunnel.
    Old bridges should be crossed one at a time.
    Chalk marks on walls can be read by enemies too.
    Retreat is often the wisest course.
    Treasure is worth nothing until it is brought home.
    Treasure is shared at the end of the journey.
    Gems should be shown to an honest jeweller.
    Magic treasure seldom comes with instructions.
    A cursed ring cannot be taken off by force.
    Potions may be tasted, at some risk.
    Scrolls burn easily.
    A wand without charges is a stick.
    Swords with names have opinions.
    The best hoards are well guarded.
    Experience is awarded at the end of each session.
    Clever play deserves a reward.
    Characters advance when they have gained enough experience.
    A new level brings new strength.
    Training takes both time and money.
    Spells are learned from books and teachers.
    A spell is spent when it is cast.
    Casting requires a free hand and a clear voice.
    A wounded caster may lose the spell.
    Spells cannot be cast while running.
    Spell books are heavy, rare and jealously guarded.
    Magic fades at dawn.
    No spell can bring back lost time.
    Two spells of the same kind do not add up.
    A caster may end a spell at will.
    Some spells grow stronger by moonlight.
    Illusions vanish when touched.
    A silence falls when great magic is near.
    Spirits obey the letter of a command.
    A saving throw is the last hope of the careless.
    Saving throws are rolled by the victim.
    A successful save may still leave a mark.
    Saves improve as characters rise in level.
    The gods do not roll dice.
    The gods are fond of music and smoke.
    Each temple serves one god and fears the rest.
    Priests wear the colours of their god.
    Prayers are answered late or not at all.
    A broken vow is hard to mend.
    Holy ground keeps out the restless dead.
    Offerings are left on the steps at dusk.
    Festivals fill the inns and empty the purses.
    Pilgrims travel in large and noisy groups.
    A retainer is hired for pay and kept by kindness.
    Retainers expect a share of the treasure.
    A retainer who is beaten will leave or worse.
    Retainers do not enter tombs first.
    Hirelings are found in taverns and at fairs.
    The number of retainers depends on the leader.
    Mercenaries fight other people and not monsters.
    A loyal cook is worth two soldiers.
    Porters carry loads and gossip.
    A guide knows the paths and the prices.
    Sages answer questions for a fee.
    An armourer is needed in every castle.
    Guild members help one another in trouble.
    Guild law is older than the law of kings.
    Apprentices serve for seven years.
    Thieves have rules of their own.
    Markets open at sunrise and close at noon.
    Prices rise in winter and in war.
    Haggling is expected in the south.
    Goods from overseas are taxed at the quay.
    False coins are nailed to the door of the mint.
    A market town has a well, a gallows and a church.
    Not every shop sells weapons.
    Horses are cheaper in autumn.
    A good mule is hard to find.
    Inns offer stew, ale and straw.
    The innkeeper hears everything and says little.
    News travels at the speed of a tired horse.
    A day's travel on a good road is about twenty miles.
    Travel through forest is slow.
    Mountains double the length of any journey.
    Swamps swallow carts and tracks alike.
    In the swamp, dry wood is treasure.
    Marsh lights lead travellers astray.
    Leeches are the least of the dangers in a swamp.
    Roll for the weather each morning.
    Rain makes bowstrings slack.
    Fog hides both the hunter and the hunted.
    Snow shows every footprint.
    A storm at sea may last for days.
    Thunder frightens horses.
    In the heat of summer, armour is a burden.
    Frost splits stone and hardens mud.
    The wind carries voices over the moor.
    Parties that lose the way wander in circles.
    The stars guide sailors and thieves.
    Camps should be set before dusk.
    Two should watch while the others sleep.
    A fire keeps wolves away and draws bandits near.
    Food spoils quickly in damp caves.
    Hunting takes half a day and some luck.
    Fish can be caught in most streams.
    Rivers are crossed at fords and ferries.
    A ferryman must be paid in advance.
    Ships sail when wind and tide agree.
    A ship needs a captain, a crew and a cat.
    Sailors fear fire more than water.
    Galleys are fast, but they carry little cargo.
    A leaking hull must be pumped day and night.
    Pirates fly no flag until it is too late.
    Harbours are closed by a chain at night.
    Passengers sleep on deck.
    Rafts are cheap and dangerous.
    Monsters have aims of their own.
    Not every monster wants to fight.
    A monster that is fed may let the party pass.
    Beasts flee from fire and noise.
    The undead neither sleep nor bargain.
    Dragons are proud and easily flattered.
    Goblins quarrel among themselves.
    Giants sleep soundly after a meal.
    Ghosts return to the place of their death.
    Wolves hunt in packs and test the weakest first.
    Morale is checked when the first foe falls.
    Prisoners may be ransomed.
    The reaction of strangers is rolled in secret.
    A gift improves the mood of most creatures.
    Languages are learned slowly.
    Poison is forbidden in most cities.
    Poison works at once or not at all.
    A disease must be treated by a healer.
    Herbs are gathered at night.
    Falling hurts more than most swords.
    Drowning takes only a few rounds.
    Fire spreads quickly in dry grass.
    Climbing requires free hands.
    Swimming in armour is folly.
    A locked chest may be broken open.
    Picking a lock takes a steady hand.
    Hiding is easy in the dark and hard in a crowd.
    A character may help another with a task.
    Repeated attempts need a change of plan.
    A failed roll should make things worse and not merely stop the game.
    A bonus is added and a penalty is taken away.
    Round fractions down.
    The higher of two bonuses applies.
    Rolls are made with the dice named in the text.
    Percentile dice are read as tens and units.
    Tables are rolled on or chosen from.
    The examples in this book are not binding.
    Read this chapter aloud before the first session.
    The rules for sieges are found elsewhere.
    Castles cost more to keep than to build.
    A lord must judge, feast and fight.
    Peasants pay in grain and labour.
    War ruins the roads first.
    A siege is won by hunger.
    The crown claims all treasure found in the royal forest.
    The watch asks questions after dark.
    Judges can be swayed by eloquence or gold.
    Maps of the coast are state secrets.
    Names have power among the old folk.
    Every family has a ghost or claims one.
    The year has twelve months and a handful of feast days.
    The moon rules tides, moods and magic.
    Bells are rung to drive out evil.
    Cats see what their owners cannot.
    A crow on the gate means visitors.
    Iron was rare in the elder days.
    The ancient road was paved by giants.
    Nobody knows who built the standing stones.
    The wise leave sealed doors alone.
    Curiosity has killed more heroes than dragons have.
    Between adventures, characters may craft, study or carouse.
    Carousing leads to friends, debts and headaches.
    Heirs inherit what the taxes leave.
    A hero grown old may found a school.
""")

INTROS: tuple[str, ...] = _lines("""
    The following wares are sold in any market town.
    The table below lists what every referee needs at hand.
    Consult this list whenever the party goes shopping.
    These entries are arranged in no particular order.
    All figures are given for fair weather and honest dealers.
    The creatures listed here may be met in the wild.
    What follows is a summary for quick reference.
    Each line of the table describes one thing.
    The most useful details are gathered in one place.
    Use this table when time is short.
    Referees may add entries of their own.
    The list below has been checked against the older scrolls.
    These are the names that come up most often in play.
    The following perils await the unwary.
    Every entry is explained more fully elsewhere.
    The columns are read from left to right.
    Here are the spells known to most village magicians.
    Those who seek work usually belong to one of these trades.
    The towns of the region are described in brief.
    The following rulings cover the usual cases.
    Copy this page and keep it behind the screen.
    Some of these are rare and some are found everywhere.
    The lists in this section may be read aloud to players.
    No two scholars agree on the order of this list.
    The table gathers what is known of each.
    Common tasks and what they demand are set out below.
    The entries below apply at all levels of play.
    Only the most important details are shown.
    Prices and other particulars are those of the capital.
    The next few entries concern things found underground.
    These notes were compiled from the journals of explorers.
    Look here first when a question arises at the table.
    The following conditions may befall any character.
    Hirelings of the following kinds can be found in most cities.
    This section lists gear for the well-prepared explorer.
    What the party finds may be chosen from this list.
    The dangers below are listed with their details.
    For ease of use, the details are shown side by side.
    The following list is far from complete.
    A short list is easier to remember than a long chapter.
    The places named here lie within a few days of one another.
    Each of these has been tested at many tables.
""")

HEADINGS: tuple[str, ...] = _lines("""
    Creatures of the Marsh
    Wares and Tools
    Dangers Underground
    Beasts of the Field
    Horrors of the Deep
    Things That Hunt by Night
    The Restless Dead
    Monsters of the Hills
    Creatures of Wood and Water
    Strange Beasts
    Foes and Vermin
    A Bestiary in Brief
    Denizens of the Ruins
    Spells of the Lesser Art
    Spells and Their Casting
    The Grimoire
    Charms and Curses
    Magic of Moon and Tide
    Rituals and Workings
    Common Spells
    Spells for the Road
    The Book of Embers
    Magic Items
    Curious Objects
    Arms and Armour
    Goods for Sale
    Treasures and Trinkets
    The Market Stall
    Gear for Explorers
    Relics of the Old Kings
    The Armoury
    Wands, Rods and Staves
    Hirelings and Retainers
    Followers for Pay
    Servants of the Guilds
    Hired Swords
    Experts and Specialists
    Those Who Serve
    The Hiring Fair
    Companions on the Road
    Checks and Tasks
    Testing Your Luck
    Tasks of Skill
    Climbing, Swimming and Sneaking
    What Characters Can Attempt
    Feats of Daring
    Everyday Tasks
    Rolling the Dice
    Hazards of the Wild
    Traps and Pitfalls
    Perils of the Road
    Bad Air and Worse Water
    Snares of the Ancients
    Dangers at Sea
    Perils Below
    Poison and Plague
    Towns and Strongholds
    Cities of the Coast
    A Gazetteer
    Places of Note
    The River Towns
    Lands and Lords
    Villages of the Vale
    Ports and Harbours
    Terms and Conditions
    States of Body and Mind
    Afflictions
    Words Used in This Book
    Wounds and Recovery
    Curses and Their Cures
    Fear and Folly
    Blessings and Banes
    Playing the Game
    Advice for Referees
    Combat and Initiative
    Travel and Weather
    Movement and Time
    Ships and the Sea
    Gods and Temples
    Treasure and Experience
    Light and Darkness
    Rest and Healing
    Quick Reference
    Further Rulings
""")
