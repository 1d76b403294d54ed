import Foundation
import Pipeline
import PipelineTesting

/// Sends messages to a pipeline that is killed again and again, each message again until it was taken.
///
/// Conversations are sent to side by side, the messages of one in order.
final class KillLoop: @unchecked Sendable {
    struct Script: Sendable {
        let channel: String
        let texts: [String]
        let answers: [String]
        let memory: [String: String]
    }

    let world: World
    let scripts: [Script]
    private(set) var kills = 0
    /// Kills while some accepted event had no delivered answer yet.
    private(set) var killsAtWork = 0
    private(set) var sends = 0
    /// Per conversation, how many of its messages were taken. Guarded by the lock, as are the counts.
    private var taken: [Int]
    /// Ids of events that an answer called durable.
    private(set) var acknowledged: Set<String> = []
    private let lock = NSLock()
    private var chance: Chance

    init(world: World, conversations: Int, messages: Int, seed: UInt64) {
        self.world = world
        chance = Chance(seed: seed)
        scripts = (0..<conversations).map { Self.script($0, messages: messages) }
        taken = [Int](repeating: 0, count: conversations)
    }

    /// Every fifth message runs a skill that changes a file; the others change the memory.
    private static func script(_ number: Int, messages: Int) -> Script {
        var texts: [String] = []
        var answers: [String] = []
        var memory: [String: String] = [:]
        var tasks = 0
        for message in 0..<messages {
            let value = "v\(number)-\(message)"
            if message % 5 == 4 {
                tasks += 1
                texts.append("/todo add \(value)")
                answers.append("\(tasks). [ ] \(value)")
            } else {
                texts.append("/remember k\(message % 7) \(value)")
                answers.append("I will remember that k\(message % 7) is \(value).")
                memory["k\(message % 7)"] = value
            }
        }
        return Script(channel: "D\(number)", texts: texts, answers: answers, memory: memory)
    }

    private var isDone: Bool { lock.withLock { zip(taken, scripts).allSatisfy { $0 == $1.texts.count } } }

    /// Rounds of: start, send to some conversations, kill at a random moment. Ends when all was taken.
    func run() throws {
        while !isDone {
            let process = try world.spawn()
            // One in six dies while it starts.
            if Int.random(in: 0..<6, using: &chance) == 0 {
                usleep(UInt32.random(in: 0..<80_000, using: &chance))
                kill(process)
                continue
            }
            try process.waitUntilReady()
            let senders = startSenders(process.port)
            // Short enough to hit turns, and now and then long enough for the slow ones to get through.
            let longest = [40_000, 160_000, 600_000][Int.random(in: 0..<3, using: &chance)]
            usleep(UInt32.random(in: 0..<UInt32(longest), using: &chance))
            kill(process)
            senders.wait()
        }
    }

    private func startSenders(_ port: UInt16) -> DispatchGroup {
        let senders = DispatchGroup()
        for number in scripts.indices where Bool.random(using: &chance) {
            let count = Int.random(in: 1...3, using: &chance)
            senders.enter()
            Thread.detachNewThread { [self] in
                send(upTo: count, of: number, to: port)
                senders.leave()
            }
        }
        return senders
    }

    private func kill(_ process: PenstockProcess) {
        let answered = world.platforms.posts.count
        process.end(SIGKILL)
        kills += 1
        if lock.withLock({ taken.reduce(0, +) }) > answered { killsAtWork += 1 }
    }

    private func send(upTo count: Int, of number: Int, to port: UInt16) {
        for _ in 0..<count {
            let index = lock.withLock { taken[number] }
            guard index < scripts[number].texts.count else { return }
            // Whatever goes wrong here is the kill; the message is sent again in a later round.
            guard let answer = try? send(index, of: number, to: port), answer.status == 200 else { return }
            lock.withLock { taken[number] = index + 1 }
        }
    }

    private func send(_ index: Int, of number: Int, to port: UInt16) throws -> Wire.Message {
        let script = scripts[number]
        let ts = Self.ts(index)
        lock.withLock { sends += 1 }
        let body = World.slackMessage(script.texts[index], channel: script.channel, ts: ts)
        let answer = try World.sendSlack(body, to: port)
        let mark = answer.fields["penstock-delivery"] ?? ""
        if mark.hasPrefix("durable"), let range = mark.range(of: "id=") {
            lock.withLock { _ = acknowledged.insert(String(mark[range.upperBound...])) }
        }
        return answer
    }

    static func ts(_ index: Int) -> String { "17000000\(10 + index / 50).\(String(format: "%06d", index))" }
}
