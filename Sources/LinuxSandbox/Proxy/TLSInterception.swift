import CSandbox
import CLinux
import Crypto
import Glibc
import Pipeline

/// A run's own authority, and the file that makes the run's programs trust it.
struct TLSInterception: Sendable {
    let authority: CertificateAuthority
    private let bundle: [UInt8]

    /// Where Debian keeps the authorities that programs trust; sandboxes see it at the same place.
    private static let systemFile = "/etc/ssl/certs/ca-certificates.crt"
    /// Beyond the run's own time, for what waits to begin.
    private static let spareSeconds = 3_600

    static func isNeeded(_ hosts: SandboxHosts) -> Bool { hosts.secrets.contains { $0.interceptsTLS } }

    /// Nil for a run without a secret that asks for it.
    init?(_ run: SandboxRun, trustedCertificates: String?) throws(SandboxError) {
        guard case .hosts(let hosts) = run.network, Self.isNeeded(hosts) else { return nil }
        let names = hosts.secrets.filter(\.interceptsTLS).flatMap(\.hosts).map(\.name)
        guard !names.isEmpty else {
            throw SandboxError(.invalid, "a secret that is to be written into TLS has no hosts")
        }
        let seconds = Int(min(run.limits.wallClock.components.seconds, 1_000_000_000)) + Self.spareSeconds
        do throws(TLSError) {
            authority = try CertificateAuthority(names: Set(names).sorted(), seconds: seconds)
        } catch {
            throw SandboxError(.busy, "no authority for the run's TLS: \(error.detail)")
        }
        var bundle = authority.certificatePEM
        for path in [Self.systemFile, trustedCertificates].compactMap({ $0 }) {
            bundle += [0x0A] + Self.read(path)
        }
        guard bundle.count <= SANDBOX_CERTIFICATES_BYTES_MAX else {
            throw SandboxError(.invalid, "the certificates to trust are \(bundle.count) bytes")
        }
        self.bundle = bundle
    }

    /// Of a machine without the file nothing.
    private static func read(_ path: String) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 256 * 1_024)
        while bytes.count <= Int(SANDBOX_CERTIFICATES_BYTES_MAX) {
            let count = Glibc.read(file, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += piece[..<count]
        }
        return bytes
    }

    /// A file in memory that holds the bundle, to be read from its start; nil when the kernel gives none.
    func openBundle() -> Int32? {
        let file = memfd_create("certificates", UInt32(MFD_CLOEXEC))
        guard file >= 0 else { return nil }
        var written = 0
        while written < bundle.count {
            let count = bundle[written...].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                close(file)
                return nil
            }
            written += count
        }
        lseek(file, 0, SEEK_SET)
        return file
    }
}
