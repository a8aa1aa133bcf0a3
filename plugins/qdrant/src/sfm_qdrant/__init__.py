"""Vector and word search on Qdrant."""
