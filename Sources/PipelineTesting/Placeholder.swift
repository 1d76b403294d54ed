// Placeholder until the first file of PipelineTesting lands.
