"""The requests of port 8002 that any instance answers by itself. Thin: each hands on to a part of the room."""

from __future__ import annotations

from actors.execution.layers import Layered
from actors.refining.room import Room
from chimera import handles
from subjects.insight import (
    AnomalyList,
    Baseline,
    BenchmarkList,
    CheckEvolver,
    Enhanced,
    EnhanceMonitoring,
    GetAnomalies,
    GetMonitor,
    GetPatterns,
    IntegrationOptimized,
    ListBenchmarks,
    Monitor,
    OptimizeIntegration,
    PatternList,
    PreviewBaseline,
    RunBenchmark,
    UpdateBaseline,
)
from subjects.optimizer import (
    BackUpModel,
    CheckKpi,
    CheckModels,
    KpiHealth,
    LayerPair,
    ModelsHealth,
    RestoreModels,
    StoredModel,
    StoreModel,
    TrainModels,
)
from subjects.report import (
    AuditCheck,
    AuditPage,
    Compliance,
    DailyReport,
    GetAudit,
    GetCompliance,
    GetReport,
    Report,
    VerifyAudit,
    WeeklyReport,
)


class Faces(Layered, name="optimizer"):
    """What the figures tell. Long ones run beside the others, so that nobody waits for a benchmark or a report."""

    _room: Room

    @handles(interleave=True)
    async def kpi(self, message: CheckKpi) -> KpiHealth:
        """KPI ingestion rate, lag, rejected."""
        return await self._room.observatory.kpi(message)

    @handles(interleave=True)
    async def models(self, message: CheckModels) -> ModelsHealth:
        """Model versions, age, error, last training."""
        return await self._room.models.models(message)

    @handles
    async def restore_models(self, message: RestoreModels) -> ModelsHealth:
        """Go back to a stored model version."""
        return await self._room.models.restore(message)

    @handles(interleave=True)
    async def back_up_model(self, message: BackUpModel) -> StoredModel:
        """A stored version's bytes."""
        return await self._room.models.back_up(message)

    @handles
    async def store_model(self, message: StoreModel) -> ModelsHealth:
        """Store a version from a backup."""
        return await self._room.models.take_in(message)

    @handles(interleave=True)
    async def train_models(self, message: TrainModels) -> ModelsHealth:
        """Train models from what was ingested."""
        return await self._room.models.train(message)

    @handles(interleave=True)
    async def patterns(self, message: GetPatterns) -> PatternList:
        """Trend, seasonality, change points, correlations."""
        return await self._room.observatory.patterns(message)

    @handles(interleave=True)
    async def anomalies(self, message: GetAnomalies) -> AnomalyList:
        """Anomalies and drift."""
        return await self._room.observatory.anomalies(message)

    @handles
    async def baseline(self, message: PreviewBaseline) -> Baseline:
        """What updating the baseline would replace."""
        return await self._room.baselines.preview(message)

    @handles
    async def update_baseline(self, message: UpdateBaseline) -> Baseline:
        """Store today's figures as the baseline."""
        return await self._room.baselines.update(message)

    @handles
    async def benchmarks(self, message: ListBenchmarks) -> BenchmarkList:
        """Stored runs."""
        return await self._room.benchmarks.list(message)

    @handles(interleave=True)
    async def run_benchmark(self, message: RunBenchmark) -> BenchmarkList:
        """Run the shipped workload."""
        return await self._room.benchmarks.run(message)

    @handles(interleave=True)
    async def check_evolver(self, message: CheckEvolver) -> LayerPair:
        """A measured round trip to the evolver."""
        return await self._room.monitor.check_evolver(message)

    @handles(interleave=True)
    async def monitor(self, message: GetMonitor) -> Monitor:
        """Latencies between layers."""
        return await self._room.monitor.monitor(message)

    @handles(interleave=True)
    async def optimize_integration(self, message: OptimizeIntegration) -> IntegrationOptimized:
        """Set what lies between the layers from measurements."""
        return await self._room.integration.optimize(message)

    @handles
    async def enhance_monitoring(self, message: EnhanceMonitoring) -> Enhanced:
        """Raise sampling and log detail for a bounded time."""
        return await self._room.attention.enhance(message)

    @handles(interleave=True)
    async def daily_report(self, message: DailyReport) -> Report:
        """The last 24 hours."""
        return await self._room.reporter.daily(message)

    @handles(interleave=True)
    async def weekly_report(self, message: WeeklyReport) -> Report:
        """The last seven days."""
        return await self._room.reporter.weekly(message)

    @handles(interleave=True)
    async def report(self, message: GetReport) -> Report:
        """The report of a day or week."""
        return await self._room.reporter.report(message)

    @handles(interleave=True)
    async def compliance(self, message: GetCompliance) -> Compliance:
        """The compliance report."""
        return await self._room.compliance.report(message)

    @handles(interleave=True)
    async def audit(self, message: GetAudit) -> AuditPage:
        """The audit log."""
        return await self._room.clerk.page(message)

    @handles(interleave=True)
    async def verify_audit(self, message: VerifyAudit) -> AuditCheck:
        """Follow the audit log's chain."""
        return await self._room.clerk.verify(message)
