import Pipeline

extension SessionConformance {
    func watches() async throws {
        let stream = try await session.watch("")
        // A change that never comes would be waited for without an end.
        let patience = Task { [session] in
            _ = try await session.exec(SessionCommand(["sleep", "25"])) { _, _ in }
            await session.close()
        }
        defer { patience.cancel() }
        var changes = stream.makeAsyncIterator()
        var seen: [SessionChange] = []
        let steps: [(script: String, change: SessionChange)] = [
            ("mkdir -p a/b", SessionChange(.created, "a/b")),
            ("echo 1 >a/b/f", SessionChange(.created, "a/b/f")),
            ("mv a/b/f a/g", SessionChange(.moved(from: "a/b/f"), "a/g")),
            ("mv a c", SessionChange(.moved(from: "a"), "c")),
            ("echo 2 >>c/g", SessionChange(.changed, "c/g")),
            ("touch c/b/h", SessionChange(.created, "c/b/h")),
            ("rm c/g", SessionChange(.deleted, "c/g")),
            ("ln -s /tmp out; touch out/x; rm -r c", SessionChange(.deleted, "c")),
        ]
        for step in steps {
            _ = try await session.exec(SessionCommand(["bash", "-c", step.script])) { _, _ in }
            var next: SessionChange?
            repeat {
                next = await changes.next()
                if let next { seen.append(next) }
            } while next != nil && next != step.change
            try expect(next != nil, "\(step.script): \(step.change) was not told: \(seen)")
        }
        try expect(seen.contains(SessionChange(.created, "out")), "a link is told: \(seen)")
        try expect(!seen.contains { $0.path.hasPrefix("out/") }, "a link is not followed: \(seen)")
        try expect(
            Set(seen.filter { $0.kind == .created }).count == seen.count { $0.kind == .created },
            "\(seen)"
        )
        do throws(SandboxError) {
            _ = try await session.watch("out")
            throw SandboxError(.busy, "watched through a link")
        } catch {
            try expect(error.kind == .invalid, "\(error)")
        }
        await session.close()
        var more = await changes.next()
        while more != nil { more = await changes.next() }
    }
}
