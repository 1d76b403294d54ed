import Foundation
import Testing

@testable import Telemetry

@Suite("Log lines")
struct LogLineTests {
    private func line(_ metadata: [String: String], isJSON: Bool) -> String {
        LogLine.text(
            .warning,
            "receive",
            "Request refused",
            metadata,
            isJSON: isJSON,
            secondsSince1970: (1_764_100_000, 7_000_000)
        )
    }

    @Test("a text line is time, level, label, message, and the data sorted by name")
    func text() {
        #expect(
            line(["status": "401", "reason": "no signature"], isJSON: false)
                == #"2025-11-25T19:46:40.007Z warning receive: Request refused reason="no signature" status=401"#
        )
    }

    @Test(
        "nothing in a value ends the line, forges a field or hides on a terminal",
        arguments: [
            "a\nb", "a\r\nforged=1", "a\"b\\c", "\u{1B}[2J", "\u{202E}gpj", "a\u{0}b", "", "a=b", "\u{2028}",
        ]
    )
    func hostile(value: String) throws {
        let text = line(["x": value], isJSON: false)
        let json = line(["x": value], isJSON: true)
        for line in [text, json] {
            #expect(
                line.unicodeScalars.allSatisfy { $0.value >= 0x20 && !("\u{202A}"..."\u{202E}").contains($0) }
            )
        }
        #expect(text.hasPrefix("2025-11-25T19:46:40.007Z warning receive: Request refused x=\""))
        let object = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: String]
        #expect(object?["x"] == value && object?["message"] == "Request refused")
    }
}

@Suite("Metrics")
struct MetricsTests {
    @Test("the same name and labels are the same counter, and Prometheus reads them all")
    func exposition() {
        let labels = ["stage": "a\"b\\c\nd"]
        Counter("test_events_total", help: "Events.", labels: labels).increment()
        Counter("test_events_total", help: "Events.", labels: labels).increment(by: 2)
        Counter("test_events_total", help: "Events.").increment()
        let gauge = Gauge("test_depth_records", help: "Depth.")
        gauge.set(5)
        gauge.add(-2)

        let text = MetricsRegistry.shared.exposition()
        #expect(
            text.contains(
                "# HELP test_events_total Events.\n# TYPE test_events_total counter\n"
                    + "test_events_total 1\ntest_events_total{stage=\"a\\\"b\\\\c\\nd\"} 3\n"
            )
        )
        #expect(text.contains("# TYPE test_depth_records gauge\ntest_depth_records 3\n"))
    }

    @Test("counts from many tasks are all there")
    func concurrency() async {
        let counter = Counter("test_concurrent_total", help: "Many.")
        await withTaskGroup { group in
            for _ in 0..<8 { group.addTask { for _ in 0..<10_000 { counter.increment() } } }
        }
        #expect(counter.value == 80_000)
    }
}
