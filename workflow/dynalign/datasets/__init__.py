"""Where data come from: public recordings, rehearsals and simulations. No other package knows them."""
