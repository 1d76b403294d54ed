// Placeholder until the first file of LinuxSandbox lands.
