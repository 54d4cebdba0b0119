"""The rules of `questions.fold`: small functions from text to text, one file per concern."""
