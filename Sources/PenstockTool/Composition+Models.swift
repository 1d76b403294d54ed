import Adapters
import Pipeline

extension Composition {
    func remoteModel() throws -> any ModelProvider {
        throw UsageError("model: this version has the offline model only; set model: offline")
    }
}
