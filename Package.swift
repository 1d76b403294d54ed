// swift-tools-version: 6.2
import PackageDescription

// The targets and the arrows between them; Sources/Pipeline/Pipeline.docc/Architecture.md says what each is for.
// C libraries are Debian's, each behind a module map in Sources/CLibraries and used by one Swift target.

let swiftSettings: [SwiftSetting] = [
    // What tests of whole processes need of a program, and no shipped one has: Pipeline/Seams/FaultPoints.
    .define("FAULT_POINTS", .when(configuration: .debug)),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

func library(_ name: String, path: String? = nil, _ dependencies: Target.Dependency...) -> Target {
    .target(name: name, dependencies: dependencies, path: path, swiftSettings: swiftSettings)
}

func tests(_ name: String, _ dependencies: Target.Dependency..., exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: swiftSettings)
}

func debian(_ name: String, pkgConfig: String? = nil, package: String) -> Target {
    .systemLibrary(
        name: name,
        path: "Sources/CLibraries/\(name)",
        pkgConfig: pkgConfig,
        providers: [.apt([package])]
    )
}

let package = Package(
    name: "penstock",
    products: [
        .executable(name: "penstock", targets: ["PenstockTool"]),
        .executable(name: "penstock-sandbox", targets: ["SandboxSpawner"]),
    ],
    targets: [
        // The command.
        .executableTarget(
            name: "PenstockTool",
            dependencies: [
                "Adapters", "Crypto", "Edge", "EmbeddedLog", "JSON", "KafkaLog", "LinuxSandbox", "Network",
                "Pipeline",
                "Telemetry", "Topics", "YAML",
            ],
            swiftSettings: swiftSettings
        ),

        // The small program beside it that builds sandboxes.
        .executableTarget(
            name: "SandboxSpawner",
            dependencies: ["CSandbox"],
            // Not Swift's libraries, which it does not use: each would make every fork dearer.
            linkerSettings: [.unsafeFlags(["-nostartfiles", "-static-executable"])]
        ),

        // Replaceable parts; none knows another.
        library("Adapters", "Crypto", "JSON", "Pipeline", "Telemetry", "Topics"),
        library("EmbeddedLog", "CLinux", "CSQLite", "Pipeline", "Telemetry", "Topics"),
        library("KafkaLog", "CRDKafka", "JSON", "Pipeline", "Telemetry", "Topics"),
        library(
            "LinuxSandbox",
            "CLinux",
            "CSandbox",
            "CSeccomp",
            "Crypto",
            "Network",
            "Pipeline",
            "Telemetry"
        ),
        library("Edge", "CCurl", "CLinux", "JSON", "Network", "Pipeline", "Telemetry"),

        // What happens to an event.
        library("Pipeline", "Compression", "Crypto", "JSON", "Telemetry", "Topics", "YAML"),

        // Foundations.
        .target(
            name: "Topics",
            dependencies: ["JSON"],
            path: "Topics",
            exclude: ["Schemas"],
            swiftSettings: swiftSettings
        ),
        library("JSON"),
        library("YAML", "CYAML"),
        library("Compression", "CZstd"),
        library("Crypto", "COpenSSL"),
        library("Network", "CLinux", "Crypto"),
        library("Telemetry"),
        .target(
            name: "CSandbox",
            cSettings: [.define("_GNU_SOURCE"), .unsafeFlags(["-O2", "-Wall", "-Wextra", "-Werror"])]
        ),

        // Debian's libraries.
        debian("CCurl", pkgConfig: "libcurl", package: "libcurl4-openssl-dev"),
        debian("CLinux", package: "libc6-dev"),
        debian("COpenSSL", pkgConfig: "openssl", package: "libssl-dev"),
        debian("CRDKafka", pkgConfig: "rdkafka", package: "librdkafka-dev"),
        debian("CSeccomp", pkgConfig: "libseccomp", package: "libseccomp-dev"),
        debian("CSQLite", pkgConfig: "sqlite3", package: "libsqlite3-dev"),
        debian("CYAML", pkgConfig: "yaml-0.1", package: "libyaml-dev"),
        debian("CZstd", pkgConfig: "libzstd", package: "libzstd-dev"),

        // Tests.
        library("KafkaTesting", path: "Tests/KafkaTesting"),
        library("PipelineTesting", "Crypto", "JSON", "Pipeline", "Telemetry", "Topics"),
        tests("AdaptersTests", "Adapters", "Crypto", "JSON", "Pipeline", "PipelineTesting", "Topics"),
        tests(
            "ChaosTests",
            "Adapters",
            "Crypto",
            "EmbeddedLog",
            "JSON",
            "KafkaLog",
            "KafkaTesting",
            "PenstockTool",
            "Pipeline",
            "PipelineTesting",
            "Topics",
            exclude: ["cut_off.py"]
        ),
        tests("CompressionTests", "Compression"),
        tests("CryptoTests", "Crypto"),
        tests("EdgeTests", "Edge", "JSON", "Network", "Pipeline", "PipelineTesting"),
        tests("EmbeddedLogTests", "EmbeddedLog", "Pipeline", "PipelineTesting", "Topics"),
        tests(
            "EndToEndTests",
            "Adapters",
            "Crypto",
            "EmbeddedLog",
            "JSON",
            "PenstockTool",
            "Pipeline",
            "PipelineTesting",
            "Topics"
        ),
        tests(
            "InteropTests",
            "Adapters",
            "Edge",
            "JSON",
            "KafkaLog",
            "Pipeline",
            "PipelineTesting",
            "Topics"
        ),
        tests("JSONTests", "JSON"),
        tests("KafkaLogTests", "JSON", "KafkaLog", "KafkaTesting", "Pipeline", "PipelineTesting", "Topics"),
        tests(
            "LinuxSandboxTests",
            "Crypto",
            "LinuxSandbox",
            "Network",
            "Pipeline",
            "PipelineTesting",
            exclude: ["without.py"]
        ),
        tests("NetworkTests", "Network"),
        tests(
            "PenstockToolTests",
            "Adapters",
            "Crypto",
            "JSON",
            "PenstockTool",
            "Pipeline",
            "PipelineTesting",
            "Topics"
        ),
        tests("PipelineTests", "Crypto", "JSON", "Pipeline", "PipelineTesting", "Topics", "YAML"),
        tests(
            "ReplayTests",
            "Adapters",
            "EmbeddedLog",
            "JSON",
            "Pipeline",
            "PipelineTesting",
            "Topics"
        ),
        tests("TelemetryTests", "Telemetry"),
        tests("TidyTests"),
        tests("TopicsTests", "JSON", "Topics"),
        tests("YAMLTests", "YAML"),
    ],
    swiftLanguageModes: [.v6]
)
