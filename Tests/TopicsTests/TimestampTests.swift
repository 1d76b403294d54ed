import Foundation
import Testing
import Topics

@Suite("Timestamps")
struct TimestampTests {
    @Test("every time is written and read as Foundation does it")
    func likeFoundation() throws {
        let seed =
            ProcessInfo.processInfo.environment["SEED"].flatMap { UInt64($0) }
            ?? UInt64.random(in: 0...UInt64.max)
        var state = seed
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        for _ in 0..<2_000 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let milliseconds = Int64(state % 253_402_300_799_999)
            let time = Timestamp(milliseconds: milliseconds)
            // A little more than the millisecond, so that its rounding down gives this millisecond.
            let date = Date(timeIntervalSince1970: (Double(milliseconds) + 0.4) / 1_000)
            #expect(time.rfc3339 == date.formatted(style), "seed \(seed)")
            #expect(Timestamp(rfc3339: time.rfc3339) == time, "seed \(seed)")
        }
    }

    @Test(
        "any RFC 3339 time is read",
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("1970-01-01t00:00:00.5z", 500), ("1970-01-01 01:00:00+01:00", 0),
            ("2000-02-29T23:59:60.1234Z", 951_868_799_123), ("1969-12-31T23:59:59.999Z", -1),
            ("0000-01-01T00:00:00-23:59", -62_167_132_860_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ]
    )
    func reads(text: String, milliseconds: Int64) {
        #expect(Timestamp(rfc3339: text)?.milliseconds == milliseconds)
    }

    @Test(
        "what is no such time is refused",
        arguments: [
            "", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
            "2026-01-32T00:00:00Z",
            "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z", "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00Zz",
            "26-01-01T00:00:00Z",
            "2026-1-1T00:00:00Z", "٢٠٢٦-01-01T00:00:00Z",
        ]
    )
    func refuses(text: String) {
        #expect(Timestamp(rfc3339: text) == nil)
    }

    @Test("arithmetic ends at the ends of the range instead of crashing")
    func saturates() {
        let last = Timestamp(milliseconds: .max)
        #expect(last + .seconds(1) == last)
        #expect(Timestamp(milliseconds: .min) + .seconds(-1) == Timestamp(milliseconds: .min))
        #expect(last.rfc3339 == "9999-12-31T23:59:59.999Z")
        #expect(Timestamp(milliseconds: .min).rfc3339 == "0000-01-01T00:00:00.000Z")
        #expect(Timestamp(milliseconds: 0) + .milliseconds(-1) == Timestamp(milliseconds: -1))
    }
}
