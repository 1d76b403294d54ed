/// Writes log lines under one label: a constant message, the data as metadata.
package struct Logger: Sendable {
    package let label: String

    package init(label: String) {
        self.label = label
    }

    package func trace(_ message: StaticString, metadata: @autoclosure () -> [String: String] = [:]) {
        LogSystem.write(.trace, label, message, metadata)
    }

    package func debug(_ message: StaticString, metadata: @autoclosure () -> [String: String] = [:]) {
        LogSystem.write(.debug, label, message, metadata)
    }

    package func info(_ message: StaticString, metadata: @autoclosure () -> [String: String] = [:]) {
        LogSystem.write(.info, label, message, metadata)
    }

    package func warning(_ message: StaticString, metadata: @autoclosure () -> [String: String] = [:]) {
        LogSystem.write(.warning, label, message, metadata)
    }

    package func error(_ message: StaticString, metadata: @autoclosure () -> [String: String] = [:]) {
        LogSystem.write(.error, label, message, metadata)
    }
}
