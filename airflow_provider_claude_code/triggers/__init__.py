"""The trigger behind the sensor's deferrable modes."""
