"""What takes a run or an exam table to where it is used: cards, the Hub, the Space, exports, published weights."""
