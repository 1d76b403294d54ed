// Placeholder until the first file of Adapters lands.
