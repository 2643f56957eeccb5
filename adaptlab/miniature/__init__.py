"""How the embedded models are made: invented worlds, corpus, tokenizer, pre-training, measurement."""
