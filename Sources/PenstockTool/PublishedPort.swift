import Glibc
import Network
import Pipeline

/// A port of a command in the sandbox, and the one of the host's loopback that leads to it.
struct PublishedPort {
    /// 0 for any free one, until it is listened on.
    var host: UInt16
    let inside: UInt16
    /// The listening socket, once there is one.
    var listener: CInt = -1

    static let option = Command.Option.value(
        "publish",
        "PORTS",
        "[HOST:]PORT,…: 127.0.0.1:HOST leads to the command's PORT; HOST 0 is any free one"
    )
    private static let portsMax = 16

    /// As in the option: `HOST:PORT`.
    var text: String { "\(host):\(inside)" }

    static func text(_ ports: [Self]) -> String { ports.map(\.text).joined(separator: ",") }

    /// Nil when the text is no such list.
    static func parse(_ text: String) -> [Self]? {
        var ports: [Self] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let numbers = part.split(separator: ":", omittingEmptySubsequences: false).map { UInt16($0) }
            guard numbers.count <= 2, let host = numbers[0], let inside = numbers[numbers.count - 1],
                inside >= 1_024
            else { return nil }
            ports.append(Self(host: host, inside: inside))
        }
        let named = ports.map(\.host).filter { $0 != 0 }
        guard ports.count <= portsMax, Set(ports.map(\.inside)).count == ports.count,
            Set(named).count == named.count
        else { return nil }
        return ports
    }

    /// Gives the run the ports that are asked for.
    static func grant(_ invocation: Invocation, to run: inout SandboxRun) throws -> [Self] {
        guard let text = invocation.value(option.name) else { return [] }
        guard let ports = parse(text) else {
            throw UsageError(
                "--publish \(text): expected up to \(portsMax) of [HOST:]PORT, each once: PORT from 1024 and "
                    + "HOST from 0 to 65535, as 8000 or 18000:8000,0:9000"
            )
        }
        guard run.network == .none || !ports.contains(where: { $0.inside == 3_128 }) else {
            throw UsageError("--publish \(text): expected another port than 3128, where --net has its proxy")
        }
        run.ports = ports.map(\.inside)
        return ports
    }

    /// Listens on all of them, and tells a person where.
    static func open(_ ports: [Self]) throws -> [Self] {
        let open = try ports.map { port in
            do throws(SocketError) {
                let (listener, host) = try Socket.listen(host: "127.0.0.1", port: port.host)
                // Not in the place of a standard stream that this program was started without.
                let moved = listener < 3 ? fcntl(listener, F_DUPFD_CLOEXEC, 3) : listener
                if moved != listener { close(listener) }
                return Self(host: host, inside: port.inside, listener: moved)
            } catch {
                throw Failure("--publish \(port.text): \(error.detail)")
            }
        }
        for port in open { Terminal.status("sandbox: 127.0.0.1:\(port.host) leads to port \(port.inside)\n") }
        return open
    }

    /// Those that another program has opened for this one, in the same order.
    static func inherited(_ ports: [Self], listeners text: String) throws -> [Self] {
        let listeners = text.split(separator: ",").map { CInt($0) ?? -1 }
        // They are not for what we start.
        guard listeners.count == ports.count,
            listeners.allSatisfy({ fcntl($0, F_SETFD, FD_CLOEXEC) == 0 })
        else { throw Failure("--listeners \(text): expected descriptors for \(Self.text(ports))") }
        return zip(ports, listeners).map { Self(host: $0.host, inside: $0.inside, listener: $1) }
    }
}
