import Glibc
import KafkaLog
import Pipeline

/// The name of a serving process among its peers, the same after a restart: `<host>-<role>-<number>`, with
/// the lowest number that no other process of the data folder holds; or `<worker.member>-<role>` when that is
/// set.
///
/// A lock on a file holds the number: the kernel lets go of it when the process ends, however it ends.
final class MemberPlace: Sendable {
    private static let placesMax = 1_000

    let name: String
    private let file: CInt?

    init(_ settings: Settings, role: String) throws(Failure) {
        if let member = settings.member {
            name = "\(member)-\(role)"
            file = nil
            return
        }
        let folder = "\(settings.data)/members"
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw Failure("\(folder): \(String(cString: strerror(errno)))")
        }
        for number in 0..<Self.placesMax {
            let path = "\(folder)/\(role)-\(number)"
            let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
            guard file >= 0 else { throw Failure("\(path): \(String(cString: strerror(errno)))") }
            if flock(file, LOCK_EX | LOCK_NB) == 0 {
                name = "\(Self.hostName)-\(role)-\(number)"
                self.file = file
                return
            }
            close(file)
        }
        throw Failure("\(folder): \(Self.placesMax) processes of this role run on this data folder already")
    }

    deinit {
        if let file { close(file) }
    }

    static var hostName: String {
        var name = [CChar](repeating: 0, count: 65)
        gethostname(&name, name.count - 1)
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension KafkaSettings {
    init(_ settings: Settings.Kafka, instance: String) {
        self.init(
            bootstrap: settings.bootstrap,
            instance: instance,
            membership: settings.membership == .static ? .static : .dynamic,
            properties: settings.properties
        )
    }
}
