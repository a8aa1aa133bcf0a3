"""Recall of evidence on LoCoMo: long conversations between two people, and questions with the turns that answer them."""
