// Placeholder until the first file of EmbeddedLog lands.
