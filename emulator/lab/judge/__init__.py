"""From captures and journals to a verdict. Pure; no module here may see a scenario."""
