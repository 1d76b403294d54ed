import CSQLite
import Pipeline

/// One SQLite connection, for one thread at a time.
final class Database {
    private let handle: OpaquePointer
    private let path: String
    private var statements: [String: OpaquePointer] = [:]

    /// Opens, and creates when it is not there.
    init(path: String) throws(EventLogError) {
        self.path = path
        var handle: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        let status = sqlite3_open_v2(path, &handle, flags, nil)
        guard status == SQLITE_OK, let handle else {
            let words = String(cString: sqlite3_errstr(status))
            sqlite3_close_v2(handle)
            throw Self.failure(status, "\(path): \(words)")
        }
        self.handle = handle
        sqlite3_busy_timeout(handle, 10_000)
    }

    deinit {
        for statement in statements.values { sqlite3_finalize(statement) }
        sqlite3_close_v2(handle)
    }

    /// Runs statements that give no rows.
    func execute(_ sql: String) throws(EventLogError) {
        let status = sqlite3_exec(handle, sql, nil, nil, nil)
        guard status == SQLITE_OK else { throw failure(status) }
    }

    /// Runs one statement with values; it is prepared once and kept.
    @discardableResult
    func run<Row>(
        _ sql: String,
        _ values: [Value] = [],
        enough: ([Row]) -> Bool = { _ in false },
        row: (borrowing Columns) -> Row
    ) throws(EventLogError) -> [Row] {
        let statement = try prepared(sql)
        defer {
            sqlite3_reset(statement)
            sqlite3_clear_bindings(statement)
        }
        for (index, value) in values.enumerated() { try bind(value, to: statement, at: Int32(index + 1)) }
        var rows: [Row] = []
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW:
                rows.append(row(Columns(statement: statement)))
                if enough(rows) { return rows }
            case SQLITE_DONE: return rows
            case let status: throw failure(status)
            }
        }
    }

    func run(_ sql: String, _ values: [Value] = []) throws(EventLogError) {
        try run(sql, values) { _ in () }
    }

    enum Value {
        case integer(Int64)
        case text(String)
        case blob([UInt8])
    }

    struct Columns: ~Copyable {
        fileprivate let statement: OpaquePointer

        func integer(_ index: Int32) -> Int64 { sqlite3_column_int64(statement, index) }

        func isNull(_ index: Int32) -> Bool { sqlite3_column_type(statement, index) == SQLITE_NULL }

        func text(_ index: Int32) -> String {
            String(decoding: blob(index), as: UTF8.self)
        }

        func blob(_ index: Int32) -> [UInt8] {
            guard let bytes = sqlite3_column_blob(statement, index) else { return [] }
            let count = Int(sqlite3_column_bytes(statement, index))
            return Array(UnsafeRawBufferPointer(start: bytes, count: count))
        }
    }

    private func prepared(_ sql: String) throws(EventLogError) -> OpaquePointer {
        if let statement = statements[sql] { return statement }
        var statement: OpaquePointer?
        let status = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard status == SQLITE_OK, let statement else { throw failure(status) }
        statements[sql] = statement
        return statement
    }

    private func bind(_ value: Value, to statement: OpaquePointer, at index: Int32) throws(EventLogError) {
        let status =
            switch value {
            case .integer(let integer): sqlite3_bind_int64(statement, index, integer)
            case .text(let text): penstock_bind_text(statement, index, text, Int32(text.utf8.count))
            case .blob(let bytes):
                bytes.isEmpty
                    ? sqlite3_bind_zeroblob(statement, index, 0)
                    : penstock_bind_blob(statement, index, bytes, Int32(bytes.count))
            }
        guard status == SQLITE_OK else { throw failure(status) }
    }

    private func failure(_ status: Int32) -> EventLogError {
        Self.failure(status, "\(path): \(String(cString: sqlite3_errmsg(handle)))")
    }

    private static func failure(_ status: Int32, _ detail: String) -> EventLogError {
        switch status & 0xFF {
        case SQLITE_FULL:
            EventLogError(.unavailable, "\(detail); free some space, then it goes on by itself")
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            EventLogError(
                .corrupt,
                "\(detail); restore the folder from a copy, or move it away to start anew"
            )
        case SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_READONLY, SQLITE_AUTH:
            EventLogError(.denied, "\(detail); check that the folder exists and may be written")
        case SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE: EventLogError(.invalid, detail)
        default: EventLogError(.unavailable, detail)
        }
    }
}
