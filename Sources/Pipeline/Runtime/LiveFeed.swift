import Synchronization

/// A sign of life from a turn under way.
package enum LivePart: Sendable, Hashable {
    /// A turn for this event begins; whatever an earlier one showed is gone.
    case started(eventID: String)
    /// More of the answer's text.
    case text(String)
    case skillStarted(String)
    case skillEnded(String, succeeded: Bool)
    /// This try came to nothing; another may follow.
    case failed
    /// The turn is committed or given up.
    case finished
}

/// What a turn is doing right now, for people who watch: provisional, superseded by the committed reply.
///
/// Within one process. It keeps the state of turns under way and not their history, so a watcher who comes
/// late or reads slowly misses nothing and nothing piles up.
package final class LiveFeed: Sendable {
    private struct Entry {
        var turn: LiveTurn?
        var watchers: [UInt64: Signal] = [:]
    }

    private struct State {
        var entries: [String: Entry] = [:]
        var nextWatcher: UInt64 = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// Cheap where nobody watches; never waits.
    package func publish(_ part: LivePart, to conversation: String) {
        let watchers = state.withLock { state in
            var entry = state.entries[conversation] ?? Entry()
            switch part {
            case .started(let eventID): entry.turn = LiveTurn(eventID: eventID)
            case .finished: entry.turn = nil
            default:
                var turn = entry.turn ?? LiveTurn(eventID: "")
                turn.take(part)
                entry.turn = turn
            }
            state.entries[conversation] = entry
            Self.tidy(conversation, &state)
            return entry.watchers
        }
        for signal in watchers.values { signal.raise() }
    }

    package func current(_ conversation: String) -> LiveTurn? {
        state.withLock { $0.entries[conversation]?.turn }
    }

    /// Raises the signal at every change until the returned number is given to `unwatch`.
    package func watch(_ conversation: String, with signal: Signal) -> UInt64 {
        state.withLock { state in
            let id = state.nextWatcher
            state.nextWatcher += 1
            state.entries[conversation, default: Entry()].watchers[id] = signal
            return id
        }
    }

    package func unwatch(_ conversation: String, _ id: UInt64) {
        state.withLock { state in
            state.entries[conversation]?.watchers[id] = nil
            Self.tidy(conversation, &state)
        }
    }

    private static func tidy(_ conversation: String, _ state: inout State) {
        guard let entry = state.entries[conversation], entry.turn == nil, entry.watchers.isEmpty else {
            return
        }
        state.entries[conversation] = nil
    }
}

package struct LiveTurn: Sendable, Hashable {
    /// Provisional text beyond this is not shown; the reply brings it.
    package static let textBytesMax = 256 * 1_024
    package static let skillsMax = 64

    /// The event that is being answered; empty when its start was not published.
    package let eventID: String
    /// UTF-8, whole characters.
    package private(set) var text: [UInt8] = []
    /// One more whenever the text starts anew: positions in it hold within one edition.
    package private(set) var edition = 0
    package private(set) var skills: [LiveSkill] = []
    private var isTextOver = false

    fileprivate init(eventID: String) {
        self.eventID = eventID
    }

    fileprivate mutating func take(_ part: LivePart) {
        switch part {
        case .text(let more):
            if isTextOver { startText() }
            guard text.count + more.utf8.count <= Self.textBytesMax else { return }
            text += Array(more.utf8)
        case .skillStarted(let name):
            // What was said before a skill ran is not the answer.
            isTextOver = true
            if skills.count < Self.skillsMax { skills.append(LiveSkill(name: name)) }
        case .skillEnded(let name, let succeeded):
            guard let index = skills.firstIndex(where: { $0.name == name && $0.succeeded == nil }) else {
                return
            }
            skills[index].succeeded = succeeded
        case .failed:
            startText()
            skills = []
        case .started, .finished:
            break
        }
    }

    private mutating func startText() {
        text = []
        edition += 1
        isTextOver = false
    }
}

package struct LiveSkill: Sendable, Hashable {
    package let name: String
    /// Nil while it runs.
    package fileprivate(set) var succeeded: Bool?

    fileprivate init(name: String) {
        self.name = name
    }
}
