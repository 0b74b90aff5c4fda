//! Paces, counts and endings, with a server that does what a test tells it.
