package import Pipeline

/// What every `ObjectStore` must do; each check throws a `ConformanceFailure` that says what went wrong.
package struct ObjectStoreConformance: Sendable {
    private let store: any ObjectStore
    /// Keeps the keys of one check apart from those of others on the same store.
    private let root: String

    private let races: Int

    /// `races`: how often 16 writers race for one key; some stores take seconds for each.
    package init(_ store: any ObjectStore, root: String, races: Int = 20) {
        self.store = store
        self.root = root
        self.races = races
    }

    package static let checks: [(name: String, check: @Sendable (Self) async throws -> Void)] = [
        ("what was put is got back", { try await $0.getsBack() }),
        ("a missing object is nil, and deleting it is no error", { try await $0.toleratesAbsence() }),
        ("of many that create one key exactly one wins", { try await $0.createsOnce() }),
        ("a put on a changed object is refused", { try await $0.refusesChanged() }),
        ("keys of one folder are listed in byte order", { try await $0.listsInOrder() }),
        ("lists have each key once, by prefix, after a key, in pages", { try await $0.lists() }),
        ("a key may be the start of another", { try await $0.nestsKeys() }),
        ("keys that could lead elsewhere are refused", { try await $0.refusesKeys() }),
        ("large and empty bodies survive", { try await $0.keepsBodies() }),
    ]

    private func key(_ name: String) -> String { "\(root)/\(name)" }

    private func expect(_ condition: Bool, _ message: String) throws {
        guard condition else { throw ConformanceFailure(message) }
    }

    private func getsBack() async throws {
        let put = try await store.put(key("a"), [1, 2, 3], if: .always)
        let got = try await store.get(key("a"))
        try expect(got?.body == [1, 2, 3], "another body came back")
        guard case .stored(let etag) = put else {
            throw ConformanceFailure("an unconditional put was refused")
        }
        try expect(got?.etag == etag, "put and get give different etags")
        _ = try await store.put(key("a"), [4], if: .always)
        let second = try await store.get(key("a"))
        try expect(second?.body == [4], "the second put is not seen")
        try expect(second?.etag != etag, "another body has the same etag")
    }

    private func toleratesAbsence() async throws {
        let got = try await store.get(key("nothing"))
        try expect(got == nil, "there is an object that nobody put")
        try await store.delete(key("nothing"))
        _ = try await store.put(key("gone"), [1], if: .always)
        try await store.delete(key("gone"))
        let after = try await store.get(key("gone"))
        try expect(after == nil, "a deleted object is still there")
        let again = try await store.put(key("gone"), [2], if: .absent)
        try expect(again != .conditionFailed, "a deleted object counts as there")
    }

    private func createsOnce() async throws {
        for round in 0..<races {
            let key = key("race-\(round)")
            let store = store
            let winners = try await withThrowingTaskGroup(of: UInt8?.self) { group in
                for number in UInt8(0)..<16 {
                    group.addTask {
                        try await store.put(key, [number], if: .absent) == .conditionFailed ? nil : number
                    }
                }
                return try await group.reduce(into: [UInt8]()) { if let number = $1 { $0.append(number) } }
            }
            try expect(winners.count == 1, "\(winners.count) of 16 created one key")
            let body = try await store.get(key)?.body
            try expect(body == winners, "the object is not the winner's")
        }
    }

    private func refusesChanged() async throws {
        guard case .stored(let first) = try await store.put(key("cas"), [1], if: .absent) else {
            throw ConformanceFailure("a new key counts as there")
        }
        let second = try await store.put(key("cas"), [2], if: .unchanged(etag: first))
        try expect(second != .conditionFailed, "an unchanged object counts as changed")
        let stale = try await store.put(key("cas"), [3], if: .unchanged(etag: first))
        try expect(stale == .conditionFailed, "a changed object counts as unchanged")
        let absent = try await store.put(key("cas-absent"), [3], if: .unchanged(etag: first))
        try expect(absent == .conditionFailed, "an absent object counts as unchanged")
        let body = try await store.get(key("cas"))?.body
        try expect(body == [2], "a refused put was written")
    }

    /// What the newest turn is found by.
    private func listsInOrder() async throws {
        let names =
            (0..<30).map { String("\(1_000_003 * $0 % 997)") }
            + ["~", "A", "a", "-", "_", "%41", "."]
            .map { "x\($0)" }
        for name in names { _ = try await store.put(key("o/\(name)"), [1], if: .always) }
        let wanted = names.map { key("o/\($0)") }.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let all = try await store.list(prefix: key("o/"), after: nil, limit: 100)
        try expect(all.entries.map(\.key) == wanted, "listed \(all.entries.map(\.key)), wanted \(wanted)")
        let first = try await store.list(prefix: key("o/"), after: nil, limit: 1)
        try expect(first.entries.map(\.key) == [wanted[0]] && first.isTruncated, "the first is another")
        let rest = try await store.list(prefix: key("o/"), after: wanted[9], limit: 3)
        try expect(rest.entries.map(\.key) == Array(wanted[10..<13]), "after a key come \(rest.entries)")
        let between = try await store.list(prefix: key("o/"), after: wanted[9] + "~~", limit: 1)
        try expect(between.entries.map(\.key) == [wanted[10]], "after a key that is not there \(between)")
    }

    private func lists() async throws {
        let names = ["l/b/2", "l/a", "l/b-1", "l/b/1", "l/c", "l/b/10", "other"]
        for name in names { _ = try await store.put(key(name), Array(name.utf8), if: .always) }
        let wanted = Set(names.filter { $0.hasPrefix("l/") }.map(key))
        let all = try await store.list(prefix: key("l/"), after: nil, limit: 100)
        let order = all.entries.map(\.key)
        try expect(Set(order) == wanted && order.count == wanted.count, "listed \(order), wanted \(wanted)")
        try expect(!all.isTruncated, "a whole list says that there is more")
        try expect(all.entries.allSatisfy { $0.byteCount == $0.key.utf8.count - key("").utf8.count }, "sizes")
        for size in 1...order.count {
            var paged: [String] = []
            var after: String?
            while paged.count <= order.count {
                let page = try await store.list(prefix: key("l/"), after: after, limit: size)
                paged += page.entries.map(\.key)
                guard page.isTruncated else { break }
                after = page.entries.last?.key
            }
            try expect(paged == order, "pages of \(size) gave \(paged), the whole is \(order)")
        }
        let some = try await store.list(prefix: key("l/b/1"), after: nil, limit: 100)
        try expect(
            some.entries.map(\.key) == [key("l/b/1"), key("l/b/10")],
            "a prefix within a name does not hold"
        )
        let none = try await store.list(prefix: key("nothing/"), after: nil, limit: 1)
        try expect(none.entries.isEmpty && !none.isTruncated, "an empty list is not empty")
    }

    private func nestsKeys() async throws {
        _ = try await store.put(key("n"), [1], if: .absent)
        _ = try await store.put(key("n/m"), [2], if: .absent)
        _ = try await store.put(key("n/m/o"), [3], if: .absent)
        let bodies = [try await store.get(key("n"))?.body, try await store.get(key("n/m"))?.body]
        try expect(bodies == [[1], [2]], "a key hides another that starts with it")
    }

    private func refusesKeys() async throws {
        let bad = [
            "", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\u{0}b", "a b", "ä", "a\\b", "a\nb",
            String(repeating: "x", count: 901), String(repeating: "x", count: 250),
        ]
        for key in bad {
            do throws(ObjectStoreError) {
                _ = try await store.put(key, [1], if: .always)
            } catch {
                try expect(error.kind == .invalid, "key \(key.debugDescription): \(error.kind)")
                continue
            }
            throw ConformanceFailure("key \(key.debugDescription) was taken")
        }
    }

    private func keepsBodies() async throws {
        let large = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        _ = try await store.put(key("large"), large, if: .absent)
        _ = try await store.put(key("empty"), [], if: .absent)
        let bodies = [try await store.get(key("large"))?.body, try await store.get(key("empty"))?.body]
        try expect(bodies == [large, []], "a body changed")
    }
}
