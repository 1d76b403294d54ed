import LinuxSandbox
import Pipeline

extension Settings.Sandbox {
    var linux: LinuxSandbox.Settings {
        var settings = LinuxSandbox.Settings()
        settings.isLenient = mayLackLayers
        settings.poolSize = poolSize
        settings.pythonPoolSize = pythonPoolSize
        settings.poolIdle = poolIdle
        settings.trustedCertificates = trustedCertificates
        return settings
    }
}
