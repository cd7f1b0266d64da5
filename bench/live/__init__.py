"""What is measured of a host that goes on running: how far its replica lags, and what that costs."""
