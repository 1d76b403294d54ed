import Foundation
import JSON
import Testing

extension EndToEndTests {
    @Test("on a full disk nothing is acknowledged, and with room again everything goes on")
    func fullDisk() async throws {
        let world = try World()
        let data = "\(world.folder)/data"
        mkdir(data, 0o700)
        guard mount("tmpfs", data, "tmpfs", 0, "size=16m") == 0 else {
            print("NOT CHECKED: a full disk; mounting a small one needs root")
            return
        }
        defer { umount2(data, CInt(MNT_DETACH)) }
        let penstock = try await world.start()
        let first = World.slackMessage("/remember a 1", channel: "D1", ts: "1700000001.000100")
        let second = World.slackMessage("/recall a", channel: "D1", ts: "1700000002.000100")
        _ = try await blocking { try World.sendSlack(first, to: penstock.port) }
        #expect(try await blocking { world.platforms.wait(seconds: 20) { $0.count == 1 } })

        let refused = try await blocking { () -> [Int] in
            Self.fill("\(data)/filler")
            // What room there was within the log's own pages is used up by a few messages at most.
            return try (0..<400).map { number in
                let text = String(repeating: "x", count: 3_000)
                let body = World.slackMessage(
                    text,
                    channel: "D2",
                    ts: "1700000003.\(String(format: "%06d", number))"
                )
                return try World.sendSlack(body, to: penstock.port).status
            }
        }
        let isUnready = try await blocking { try penstock.waitForReadiness(503) }
        let whileFull = try await blocking { try World.sendSlack(second, to: penstock.port).status }
        unlink("\(data)/filler")
        let isReady = try await blocking { try penstock.waitForReadiness(200) }
        let health = try await blocking { try Wire.send(penstock.port, "GET", "/health/ready").text }
        let after = try await blocking { try World.sendSlack(second, to: penstock.port).status }
        let taken = refused.filter { $0 == 200 }.count
        let isAnswered = try await blocking { world.platforms.wait(seconds: 30) { $0.count == taken + 2 } }
        #expect(try await penstock.stop() == 0)

        #expect(Set(refused).isSubset(of: [200, 503]) && refused.last == 503, "\(Set(refused))")
        #expect(isUnready && whileFull == 503 && after == 200)
        #expect(isReady, "\(health)")
        #expect(isAnswered, "\(world.platforms.posts.count) of \(taken + 2)")
        #expect(world.platforms.posts.last { $0.body["channel"] == "D1" }?.text == "a is 1.")
        #expect(try await world.replies().count == taken + 2)
    }

    private static func fill(_ path: String) {
        let file = open(path, O_WRONLY | O_CREAT, 0o600)
        defer { close(file) }
        for size in [65_536, 4_096] {
            let piece = [UInt8](repeating: 1, count: size)
            while write(file, piece, size) > 0 {}
        }
    }
}
