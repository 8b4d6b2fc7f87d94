"""The page of forecasts, and the comparison of a draft with the stored policies."""
