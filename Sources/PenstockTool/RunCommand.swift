import Crypto
import Dispatch
import Edge
import Glibc
import Network
import Pipeline
import Synchronization
import Telemetry

/// `penstock run`, and each role alone.
enum RunCommand {
    enum Role: String {
        case ingress, worker, egress
    }

    static let run = command("run", "the whole pipeline in one process", [.ingress, .worker, .egress])
    static let ingress = command("ingress", "takes events onto the log, gives replies to readers", [.ingress])
    static let worker = command("worker", "runs turns; start more of them to go faster", [.worker])
    static let egress = command("egress", "delivers replies", [.egress])

    private static func command(_ name: String, _ summary: String, _ roles: Set<Role>) -> Command {
        Command(
            name: name,
            summary: summary,
            discussion: """
                Stops in order on SIGTERM or ctrl-C: takes nothing new, finishes what is under way within
                worker.stop_within, and leaves the rest to whoever starts next. Nothing is lost either way.
                """,
            examples: [
                ("penstock \(name)", "with ./penstock.yaml, or the defaults"),
                ("penstock \(name) --config my.yaml", "with these settings"),
            ],
            options: [.value("port", "PORT", "listen here; 0 for any free port. Overrides http.port")],
            run: { invocation in try await serve(roles, invocation) }
        )
    }

    private static func serve(_ roles: Set<Role>, _ invocation: Invocation) async throws -> Int32 {
        var settings = try SettingsFile.load(invocation)
        settings.port = UInt16(try invocation.integer("port", in: 0...65_535, default: Int(settings.port)))
        let stop = StopSignal()
        let role = invocation.command.name
        let composition: Composition
        do {
            composition = try await Composition(settings, role: role) { stop.isRaised }
            try await composition.readyStore(forTurns: roles.contains(.worker)) { stop.isRaised }
        } catch  where stop.isRaised {
            // It was waiting for the log or the store, and there is nothing to finish.
            return 0
        }
        let service = try await Service(composition, roles: roles)
        return try await service.run(until: stop)
    }
}

/// SIGTERM and SIGINT, as something to wait for.
final class StopSignal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    private let flag: Flag
    // Kept alive; the sources only yield.
    nonisolated(unsafe) private let sources: [any DispatchSourceSignal]

    init() {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Void.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        self.stream = stream
        self.continuation = continuation
        let flag = Flag()
        self.flag = flag
        sources = [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { @Sendable in
                flag.raise()
                continuation.yield()
            }
            source.resume()
            return source
        }
    }

    private final class Flag: Sendable {
        private let isUp = Atomic<Bool>(false)
        var isRaised: Bool { isUp.load(ordering: .acquiring) }
        func raise() { isUp.store(true, ordering: .releasing) }
    }

    var isRaised: Bool { flag.isRaised }

    /// As a signal would.
    func raise() {
        flag.raise()
        continuation.yield()
    }

    func wait() async {
        var iterator = stream.makeAsyncIterator()
        _ = await iterator.next()
    }
}

/// A process's parts, started and stopped in order.
private struct Service {
    private let composition: Composition
    private let worker: Runner?
    private let egress: Runner?
    private let feed: ReplyFeed
    private let server: HTTPServer
    private let health: HealthBoard
    private let logger = Logger(label: "penstock")

    init(_ composition: Composition, roles: Set<RunCommand.Role>) async throws {
        self.composition = composition
        let settings = composition.settings
        let skills = composition.skills()
        for problem in skills.diagnostics {
            let place = problem.path + (problem.line.map { ":\($0)" } ?? "")
            logger.warning("Skill", metadata: ["path": place, LogKeys.reason: problem.message])
        }
        worker = roles.contains(.worker) ? try composition.worker(skills) : nil
        egress = roles.contains(.egress) ? composition.egress() : nil
        feed = ReplyFeed(log: composition.log, topicPrefix: settings.topicPrefix, time: composition.time)
        health = HealthBoard(time: composition.time)
        var server = HTTPServerSettings(host: settings.host, port: settings.port)
        server.limits.bodyBytesMax = settings.bodyBytesMax
        let door = Door(composition, feed: feed, health: health, isIngress: roles.contains(.ingress))
        self.server = HTTPServer(settings: server, handler: door)
        if roles.contains(.ingress), !settings.isLoopback, settings.events.token == nil,
            settings.events.signingSecret == nil
        {
            logger.warning(
                "POST /v1/events is closed",
                metadata: [LogKeys.reason: "set channels.events.token to open it"]
            )
        }
    }

    /// Returns the exit status: 1 when another process took this one's place.
    func run(until stop: StopSignal) async throws -> Int32 {
        await check()
        let port: UInt16
        do {
            port = try server.start()
        } catch {
            throw Failure("\(error.detail); choose another http.port, or 0 for any free one")
        }
        guard Files.replace("\(composition.settings.data)/http.port", "\(port)\n") else {
            throw Failure("\(composition.settings.data)/http.port: can not be written")
        }
        logger.info(
            "Started",
            metadata: ["port": "\(port)", "version": Penstock.version, "data": composition.settings.data]
        )
        announce(port)
        await withTaskGroup { group in
            for runner in [worker, egress].compactMap(\.self) {
                group.addTask {
                    await runner.run()
                    if runner.wasReplaced != nil { stop.raise() }
                }
            }
            let background = Task {
                await withTaskGroup { group in
                    group.addTask { await tailReplies() }
                    group.addTask { await watch() }
                    // Beside the rest: what waits need not wait for it.
                    if worker != nil {
                        group.addTask { await SandboxReport.tell(composition.settings) }
                    }
                }
            }
            await stop.wait()
            logger.info("Stopping")
            health.report("process", isReady: false, "stopping")
            worker?.stop()
            await server.drain(within: .seconds(5))
            egress?.stop()
            await group.waitForAll()
            background.cancel()
            await background.value
        }
        await composition.log.close()
        logger.info("Stopped")
        guard let rival = worker?.wasReplaced ?? egress?.wasReplaced else { return 0 }
        Terminal.complain(
            "another process runs under this one's name \(composition.identity.name), and has its "
                + "place: give each process a worker.member of its own, or none (\(rival.detail))"
        )
        return 1
    }

    private func announce(_ port: UInt16) {
        let host =
            composition.settings.host.contains(":")
            ? "[\(composition.settings.host)]" : composition.settings.host
        Terminal.line("Penstock \(Penstock.version) is running on http://\(host):\(port)/")
        if composition.hasWebChat {
            Terminal.line("Open that address to talk to the agent; ctrl-C stops it.")
        }
    }

    private func tailReplies() async {
        while !Task.isCancelled {
            do {
                try await feed.run()
            } catch {
                guard !Task.isCancelled else { return }
                logger.warning("Replies can not be followed now", metadata: [LogKeys.error: "\(error)"])
            }
            // Cancelled: the loop's condition sees it.
            try? await composition.time.sleep(.seconds(1))
        }
    }

    private func watch() async {
        while !Task.isCancelled {
            await check()
            // Cancelled: the loop's condition sees it.
            try? await composition.time.sleep(.seconds(1))
        }
    }

    private func check() async {
        do {
            try await composition.log.check()
            health.report("log", isReady: true, "accepts events")
        } catch {
            health.report("log", isReady: false, error.detail)
        }
        do {
            _ = try await composition.store.put(
                "health/\(composition.identity.name)",
                Array("{}".utf8),
                if: .always
            )
            health.report("store", isReady: true, "accepts objects")
        } catch {
            health.report("store", isReady: false, error.detail)
        }
        for (name, runner) in [("worker", worker), ("egress", egress)] {
            guard let state = runner?.currentHealth else { continue }
            health.report(name, isReady: state.isReady, state.reason)
        }
    }
}

enum Secrets {
    static func random() -> String { Hex.encode(secureRandomBytes(32)) }
}
