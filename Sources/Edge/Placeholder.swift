// Placeholder until the first file of Edge lands.
