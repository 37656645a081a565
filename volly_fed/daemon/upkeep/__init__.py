"""What operators look at and do: records checked, published and rolled, keys changed, everything examined."""
