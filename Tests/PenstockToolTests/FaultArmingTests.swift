#if FAULT_POINTS
    import Pipeline
    import PipelineTesting
    import Testing

    @testable import PenstockTool

    @Suite("Fault points and faults of the store")
    struct FaultArmingTests {
        @Test(
            "a plan is a point, perhaps which time, perhaps what happens",
            arguments: [
                ("seal.before", 1, FaultPlan.Action.kill), ("seal.before:3", 3, .kill),
                ("seal.before:stop", 1, .stop), ("seal.before:2:pause-40", 2, .pause(milliseconds: 40)),
                ("seal.before:*:hold", nil, .hold),
            ] as [(String, Int?, FaultPlan.Action)]
        )
        func plan(text: String, nth: Int?, action: FaultPlan.Action) throws {
            let plan = try FaultPlan("load.after:9,\(text)", folder: nil)

            #expect(plan.faults.last == FaultPlan.Fault(point: "seal.before", nth: nth, action: action))
            #expect(plan.faults.count == 2)
        }

        @Test(
            "what is no plan is refused",
            arguments: ["seal", "seal.before:0", "seal.before:kill:1", "seal.before:1:pause-x", ":1:kill"]
        )
        func refused(text: String) {
            #expect(throws: UsageError.self) { try FaultPlan(text, folder: nil) }
        }

        @Test("every point has a name of its own")
        func names() {
            #expect(Set(FaultPoint.all.map(\.name)).count == FaultPoint.all.count)
            #expect(FaultPoint.all.count == 35)
            #expect(Set(FaultArming.variants.values) == Set(Breakage.allCases))
        }

        @Test("the response of the named put is lost: it is stored, and said to have failed")
        func lost() async throws {
            let memory = MemoryStore()
            let store = FaultyStore(memory, faults: try StoreFaults("lose=/t/:2"))

            _ = try await store.put("c/1/t/1", [1], if: .absent)
            await #expect(throws: ObjectStoreError.self) { try await store.put("c/1/t/2", [2], if: .absent) }

            #expect(memory.keys == ["c/1/t/1", "c/1/t/2"])
            #expect(try await store.put("c/1/t/2", [3], if: .absent) == .conditionFailed)
        }

        @Test("faults by chance come at their rate, the same for the same seed, and only where they should")
        func chance() async throws {
            func failures(_ text: String, _ key: String) async throws -> [Bool] {
                let store = FaultyStore(MemoryStore(), faults: try StoreFaults(text))
                var failures: [Bool] = []
                for number in 0..<1_000 {
                    let isStored = (try? await store.put("\(key)\(number)", [1], if: .always)) != nil
                    failures.append(!isStored)
                }
                return failures
            }
            let some = try await failures("seed=7,lost=50,refused=50", "c/")

            #expect((60...140).contains(some.count { $0 }))
            #expect(try await failures("seed=7,lost=50,refused=50", "c/") == some)
            #expect(try await failures("seed=7,lost=500,refused=500", "health/").allSatisfy { !$0 })
        }

        @Test(
            "faults of the store that mean nothing are refused",
            arguments: ["lost", "lost=501", "x=1", "lose="]
        )
        func refusedFaults(text: String) {
            #expect(throws: UsageError.self) { try StoreFaults(text) }
        }
    }
#endif
