import LinuxSandbox
import Pipeline
import Telemetry

/// What a worker says of its sandbox when it starts: nothing is missing, or what is, and what comes of it.
enum SandboxReport {
    private static let logger = Logger(label: "sandbox")

    /// Takes some tens of milliseconds, of which a command in a sandbox takes most.
    static func tell(_ settings: Settings) async {
        let layers = await SandboxDiagnosis.layers(
            settings.sandbox.linux,
            limits: settings.agent.skillLimits
        )
        let missing = layers.filter { !$0.isPresent }
        guard !missing.isEmpty else {
            return logger.info("The sandbox is whole", metadata: ["layers": "\(layers.count)"])
        }
        for finding in missing {
            var metadata = ["layer": finding.id, "seen": finding.seen, "meaning": finding.meaning]
            metadata["cure"] = finding.cure
            logger.warning(
                finding.isRequired
                    ? "The sandbox lacks a layer: skills do not run"
                    : "The sandbox lacks a layer: skills run without it",
                metadata: metadata
            )
        }
    }
}
