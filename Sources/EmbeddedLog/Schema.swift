import Pipeline

/// The tables. Offsets are dense in each partition; a record's row is never changed.
enum Schema {
    static let version: Int64 = 1

    static func open(_ path: String) throws(EventLogError) -> Database {
        let database = try Database(path: path)
        // FULL: an answered append has reached the disk, whatever happens to the machine.
        try database.execute(
            """
            PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
            PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;
            """
        )
        return database
    }

    /// Creates the tables in a new file; refuses a file of a newer version.
    static func prepare(_ database: Database, path: String, identity: String) throws(EventLogError) {
        try database.execute("BEGIN IMMEDIATE")
        do throws(EventLogError) {
            let found = try database.run("PRAGMA user_version") { $0.integer(0) }.first ?? 0
            guard found <= version else {
                throw EventLogError(
                    .mismatch,
                    "\(path): written by a newer version (format \(found), this one knows \(version)); "
                        + "start that one"
                )
            }
            if found == 0 {
                try database.execute(tables)
                try database.run("INSERT INTO meta (name, value) VALUES ('identity', ?)", [.text(identity)])
                try database.execute("PRAGMA user_version = \(version)")
            }
            try database.execute("COMMIT")
        } catch {
            // The error that matters is the one already caught.
            try? database.execute("ROLLBACK")
            throw error
        }
    }

    private static let tables = """
        CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE topics (
            id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL,
            cleanup TEXT NOT NULL, retention_ms INTEGER NOT NULL);
        CREATE TABLE partitions (
            topic INTEGER NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
            PRIMARY KEY (topic, partition)) WITHOUT ROWID;
        CREATE TABLE records (
            topic INTEGER NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
            time INTEGER NOT NULL,
            key BLOB NOT NULL, headers BLOB NOT NULL, value BLOB NOT NULL,
            PRIMARY KEY (topic, partition, position)) WITHOUT ROWID;
        CREATE TABLE progress (
            consumers TEXT NOT NULL, topic INTEGER NOT NULL, partition INTEGER NOT NULL,
            low INTEGER NOT NULL, done BLOB NOT NULL,
            PRIMARY KEY (consumers, topic, partition)) WITHOUT ROWID;
        CREATE TABLE members (
            consumers TEXT NOT NULL, member TEXT NOT NULL, session TEXT NOT NULL, seen_ms INTEGER NOT NULL,
            PRIMARY KEY (consumers, member)) WITHOUT ROWID;
        CREATE TABLE leases (
            consumers TEXT NOT NULL, topic INTEGER NOT NULL, partition INTEGER NOT NULL,
            session TEXT NOT NULL, fence INTEGER NOT NULL,
            PRIMARY KEY (consumers, topic, partition)) WITHOUT ROWID;
        """
}

/// Headers as stored: for each a 2-byte length and the name, a 4-byte length and the value, big-endian.
enum HeaderBytes {
    static func encode(_ headers: [LogHeader]) -> [UInt8] {
        var bytes: [UInt8] = []
        for header in headers {
            let name = Array(header.name.utf8)
            bytes +=
                [UInt8(truncatingIfNeeded: name.count >> 8), UInt8(truncatingIfNeeded: name.count)] + name
            for shift in [24, 16, 8, 0] {
                bytes.append(UInt8(truncatingIfNeeded: header.value.count >> shift))
            }
            bytes += header.value
        }
        return bytes
    }

    /// What cannot be read is left out.
    static func decode(_ bytes: [UInt8]) -> [LogHeader] {
        var headers: [LogHeader] = []
        var index = 0
        func number(_ count: Int) -> Int? {
            guard index + count <= bytes.count else { return nil }
            defer { index += count }
            return bytes[index..<index + count].reduce(0) { $0 << 8 | Int($1) }
        }
        while let nameCount = number(2), index + nameCount <= bytes.count {
            let name = String(decoding: bytes[index..<index + nameCount], as: UTF8.self)
            index += nameCount
            guard let valueCount = number(4), index + valueCount <= bytes.count else { break }
            headers.append(LogHeader(name, Array(bytes[index..<index + valueCount])))
            index += valueCount
        }
        return headers
    }
}
