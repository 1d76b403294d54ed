import Synchronization

/// A count that only rises. The same name and labels are the same counter, wherever they are asked for.
package struct Counter: Sendable {
    private let cell: MetricCell

    package init(_ name: String, help: String, labels: [String: String] = [:]) {
        cell = MetricsRegistry.shared.cell(name, help, .counter, labels)
    }

    package func increment(by amount: Int = 1) {
        cell.value.add(amount, ordering: .relaxed)
    }

    package var value: Int { cell.value.load(ordering: .relaxed) }
}

/// A value that rises and falls.
package struct Gauge: Sendable {
    private let cell: MetricCell

    package init(_ name: String, help: String, labels: [String: String] = [:]) {
        cell = MetricsRegistry.shared.cell(name, help, .gauge, labels)
    }

    package func set(_ value: Int) {
        cell.value.store(value, ordering: .relaxed)
    }

    package func add(_ amount: Int) {
        cell.value.add(amount, ordering: .relaxed)
    }

    package var value: Int { cell.value.load(ordering: .relaxed) }
}

final class MetricCell: Sendable {
    let value = Atomic<Int>(0)
}

/// Every metric of the process, for Prometheus.
package final class MetricsRegistry: Sendable {
    package static let shared = MetricsRegistry()

    enum Kind: String {
        case counter, gauge
    }

    private struct Family {
        let help: String
        let kind: Kind
        var cells: [String: MetricCell] = [:]
    }

    private let families = Mutex<[String: Family]>([:])

    func cell(_ name: String, _ help: String, _ kind: Kind, _ labels: [String: String]) -> MetricCell {
        let key = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(Self.escaped($0.value))\"" }
            .joined(separator: ",")
        return families.withLock { families in
            var family = families[name] ?? Family(help: help, kind: kind)
            defer { families[name] = family }
            if let cell = family.cells[key] { return cell }
            let cell = MetricCell()
            family.cells[key] = cell
            return cell
        }
    }

    /// The text format that Prometheus scrapes (`text/plain; version=0.0.4`).
    package func exposition() -> String {
        families.withLock { families in
            families.sorted { $0.key < $1.key }.map { name, family in
                let lines = family.cells.sorted { $0.key < $1.key }.map { labels, cell in
                    "\(name)\(labels.isEmpty ? "" : "{\(labels)}") \(cell.value.load(ordering: .relaxed))\n"
                }
                return "# HELP \(name) \(family.help)\n# TYPE \(name) \(family.kind.rawValue)\n"
                    + lines.joined()
            }.joined()
        }
    }

    private static func escaped(_ value: String) -> String {
        value.flatMap { character -> String in
            switch character {
            case "\\": "\\\\"
            case "\"": "\\\""
            case "\n": "\\n"
            default: String(character)
            }
        }.map(String.init).joined()
    }
}
