// Placeholder until the first file of YAML lands.
