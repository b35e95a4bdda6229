#include "server/extraction_runner.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/call_terms.h"
#include "server/convert.h"
#include "server/log.h"
#include "server/status_details.h"

namespace reenact {
namespace {

// A message of the template at most, bytes.
constexpr size_t kChunkBytes = size_t{256} << 10;

// What a piece counts for besides its bytes, so that many small ones are bounded too.
constexpr int64_t kPieceOverheadBytes = 64;

// Higher is less; the jobs' threads have 0.
constexpr int kThreadNiceness = 5;

LogLevel EndLevel(const absl::Status& status) {
  return status.code() == absl::StatusCode::kInternal ? LogLevel::kError : LogLevel::kInfo;
}

}  // namespace

// Guarded by the runner's mutex, but for what is constant and `engine`, which belongs to the turn
// that is running (`busy`) or, without one, to the mutex.
class ExtractionRunner::Extraction {
 public:
  // Constant.
  std::string id, tenant;
  absl::Time created, deadline;
  std::weak_ptr<Listener> listener;

  std::optional<MotionRequest> request;  // until the engine has it
  std::deque<std::string> inbox;
  int64_t inbox_bytes = 0;
  absl::Time last_input;
  bool input_finished = false;
  bool finish_taken = false;
  bool needs_input = true;  // the engine does, or has not been asked yet

  std::unique_ptr<MotionExtraction> engine;
  bool busy = false;
  bool queued = false;  // in turns_

  std::string outbox;
  std::optional<MotionSummary> summary;
  std::optional<absl::Status> end;
};

ExtractionRunner::ExtractionRunner(const ServerConfig& config, Engine& engine, Clock& clock,
                                   Metrics& metrics, int num_threads)
    : config_(config), engine_(engine), clock_(clock), metrics_(metrics) {
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Run(); });
}

ExtractionRunner::~ExtractionRunner() {
  StopAdmitting();
  EndAll(absl::UnavailableError("the server has stopped"));
  {
    MutexLock lock(&mu_);
    stopped_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::StatusOr<ExtractionRunner::Handle> ExtractionRunner::Admit(MotionRequest request,
                                                                 const std::string& tenant,
                                                                 absl::Time deadline,
                                                                 std::weak_ptr<Listener> listener) {
  const absl::Time now = clock_.TimeNow();
  const auto extraction = std::make_shared<Extraction>();
  extraction->id = NewCallId();
  extraction->tenant = tenant;
  extraction->created = extraction->last_input = now;
  extraction->deadline = std::min(deadline, now + config_.max_job_duration);
  extraction->listener = std::move(listener);
  extraction->request = std::move(request);
  {
    MutexLock lock(&mu_);
    if (!admitting_) {
      return absl::UnavailableError("the server is draining; try another one");
    }
    if (live_.size() >= static_cast<size_t>(config_.max_extractions)) {
      return WithRetryDelay(
          absl::ResourceExhaustedError(absl::StrCat("the server extracts as many motions as it may "
                                                    "(",
                                                    config_.max_extractions, "); try again later")),
          config_.retry_delay);
    }
    live_.insert(extraction);
    // The request is looked at before the driving media is there: a bad one fails early.
    Schedule(extraction);
  }
  metrics_.AddExtractions(1);
  LogJob(LogLevel::kInfo, extraction->id, tenant, "extraction accepted");
  return extraction;
}

void ExtractionRunner::PushInput(const Handle& extraction, std::string bytes) {
  metrics_.CountReceived(bytes.size());
  const absl::Time now = clock_.TimeNow();
  MutexLock lock(&mu_);
  if (extraction->end.has_value() || extraction->input_finished) return;
  extraction->last_input = now;
  extraction->inbox_bytes += static_cast<int64_t>(bytes.size()) + kPieceOverheadBytes;
  extraction->inbox.push_back(std::move(bytes));
  Schedule(extraction);
}

void ExtractionRunner::FinishInput(const Handle& extraction) {
  MutexLock lock(&mu_);
  if (extraction->end.has_value()) return;
  extraction->input_finished = true;
  Schedule(extraction);
}

bool ExtractionRunner::WantsInput(const Handle& extraction) const {
  MutexLock lock(&mu_);
  return !extraction->end.has_value() && !extraction->input_finished &&
         extraction->inbox_bytes < config_.max_inbox_bytes;
}

ExtractionRunner::Answer ExtractionRunner::NextAnswer(const Handle& extraction) {
  Answer answer;
  std::optional<MotionSummary> done;
  size_t sent = 0;
  {
    MutexLock lock(&mu_);
    if (extraction->end.has_value()) {
      answer.next = Next::kEnded;
      answer.status = *extraction->end;
      return answer;
    }
    if (!extraction->outbox.empty()) {
      std::string& chunk = *answer.response.mutable_template_chunk();
      if (extraction->outbox.size() <= kChunkBytes) {
        chunk.swap(extraction->outbox);
      } else {
        chunk = extraction->outbox.substr(0, kChunkBytes);
        extraction->outbox.erase(0, kChunkBytes);
      }
      sent = chunk.size();
      answer.next = Next::kAnswer;
      Schedule(extraction);
    } else if (extraction->summary.has_value()) {
      answer.next = Next::kAnswer;
      *answer.response.mutable_summary() = ToProto(*extraction->summary);
      done = extraction->summary;
      // With the same lock: who has the summary is not told of another end.
      SetEnd(extraction, absl::OkStatus());
    }
  }
  if (sent > 0) metrics_.CountTemplateBytes(sent);
  if (done.has_value()) {
    metrics_.ObserveExtraction(done->frames, clock_.TimeNow() - extraction->created);
    TellEnd(extraction, absl::OkStatus());
  }
  return answer;
}

void ExtractionRunner::End(const Handle& extraction, const absl::Status& status) {
  {
    Remains remains;  // outlives the lock
    MutexLock lock(&mu_);
    if (extraction->end.has_value()) return;
    remains = SetEnd(extraction, status);
  }
  TellEnd(extraction, status);
}

ExtractionRunner::Remains ExtractionRunner::SetEnd(const Handle& extraction,
                                                   const absl::Status& status) {
  extraction->end = ForCaller(status, extraction->id);
  extraction->request.reset();
  Remains remains;
  remains.inbox.swap(extraction->inbox);
  remains.outbox.swap(extraction->outbox);
  if (extraction->busy) {
    // The turn that is running destroys it.
    if (extraction->engine != nullptr) extraction->engine->Cancel();
  } else {
    remains.engine = std::move(extraction->engine);
    live_.erase(extraction);
  }
  // Before anybody can be told.
  metrics_.AddExtractions(-1);
  metrics_.CountExtractionEnded(extraction->end->code());
  return remains;
}

void ExtractionRunner::TellEnd(const Handle& extraction, const absl::Status& status) {
  LogJob(EndLevel(*extraction->end), extraction->id, extraction->tenant, "extraction ended",
         {{"code", std::string(StatusCodeName(status.code()))},
          {"error", std::string(status.message())},
          {"seconds", absl::ToDoubleSeconds(clock_.TimeNow() - extraction->created)}});
  Notify(extraction);
}

void ExtractionRunner::StopAdmitting() {
  MutexLock lock(&mu_);
  admitting_ = false;
}

void ExtractionRunner::EndAll(const absl::Status& status) {
  std::vector<Handle> all;
  {
    MutexLock lock(&mu_);
    all = {live_.begin(), live_.end()};
  }
  for (const Handle& extraction : all) End(extraction, status);
}

bool ExtractionRunner::AwaitIdle(absl::Time deadline) {
  MutexLock lock(&mu_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return live_.empty(); };
  return clock_.AwaitWithDeadline(&mu_, absl::Condition(&idle), deadline);
}

bool ExtractionRunner::HasWork(const Extraction& extraction) const {
  if (extraction.end.has_value() || extraction.summary.has_value()) return false;
  if (extraction.request.has_value()) return true;
  if (extraction.needs_input) {
    return !extraction.inbox.empty() || (extraction.input_finished && !extraction.finish_taken);
  }
  return static_cast<int64_t>(extraction.outbox.size()) < config_.max_outbox_bytes;
}

void ExtractionRunner::Schedule(const Handle& extraction) {
  if (extraction->queued || extraction->busy || !HasWork(*extraction)) return;
  extraction->queued = true;
  turns_.push_back(extraction);
}

absl::Time ExtractionRunner::DueTime(const Extraction& extraction) const {
  if (extraction.end.has_value()) return absl::InfiniteFuture();
  // Silence counts while input is awaited.
  const bool silent = !extraction.input_finished && extraction.inbox.empty();
  return silent ? std::min(extraction.deadline, extraction.last_input + config_.receive_timeout)
                : extraction.deadline;
}

absl::Time ExtractionRunner::NextDueTime() const {
  absl::Time due = absl::InfiniteFuture();
  for (const Handle& extraction : live_) due = std::min(due, DueTime(*extraction));
  return due;
}

void ExtractionRunner::EndOverdue() {
  const absl::Time now = clock_.TimeNow();
  std::vector<std::pair<Handle, absl::Status>> overdue;
  {
    MutexLock lock(&mu_);
    for (const Handle& extraction : live_) {
      if (DueTime(*extraction) > now) continue;
      overdue.emplace_back(extraction,
                           absl::DeadlineExceededError(
                               extraction->deadline <= now
                                   ? "the extraction's time is over"
                                   : absl::StrCat("no driving media came for ",
                                                  absl::FormatDuration(config_.receive_timeout))));
    }
  }
  for (const auto& [extraction, status] : overdue) End(extraction, status);
}

void ExtractionRunner::Notify(const Handle& extraction) {
  if (const auto listener = extraction->listener.lock()) listener->OnExtractionChanged();
}

void ExtractionRunner::Run() {
  // Of this thread alone. That it may not be allowed is no matter.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kThreadNiceness);
  // Deadlines are looked at this often at least: those of new extractions are not waited for.
  constexpr absl::Duration kInterval = absl::Milliseconds(250);
  while (true) {
    {
      MutexLock lock(&mu_);
      const auto has_reason = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
        return stopped_ || !turns_.empty();
      };
      const auto has_anything = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
        return stopped_ || !live_.empty();
      };
      mu_.Await(absl::Condition(&has_anything));
      const absl::Time now = clock_.TimeNow();
      clock_.AwaitWithDeadline(&mu_, absl::Condition(&has_reason),
                               std::min(NextDueTime(), now + kInterval));
      if (stopped_) return;
    }
    EndOverdue();
    RunTurn();
  }
}

bool ExtractionRunner::RunTurn() {
  const absl::Time now = clock_.TimeNow();
  Handle extraction;
  Input input;
  {
    MutexLock lock(&mu_);
    if (turns_.empty()) return false;
    extraction = std::move(turns_.front());
    turns_.pop_front();
    extraction->queued = false;
    if (extraction->end.has_value()) return true;
    extraction->busy = true;
    // With the same lock: End() may come right after it, and takes away what is not in work yet.
    input = TakeInput(*extraction);
    // While it waited to be read here, the caller may not have been able to send.
    if (!input.pieces.empty()) extraction->last_input = now;
  }
  Turn(extraction, std::move(input));
  return true;
}

ExtractionRunner::Input ExtractionRunner::TakeInput(Extraction& extraction) {
  Input input;
  input.request = std::exchange(extraction.request, std::nullopt);
  if (!input.request.has_value() && extraction.needs_input) {
    input.pieces.swap(extraction.inbox);
    extraction.inbox_bytes = 0;
    input.finished = extraction.input_finished &&
                     !std::exchange(extraction.finish_taken, extraction.input_finished);
  }
  return input;
}

absl::StatusOr<MotionExtraction::Reading> ExtractionRunner::Work(Extraction& extraction,
                                                                 const Input& input,
                                                                 std::string* bytes) {
  for (const std::string& piece : input.pieces) {
    if (auto status = extraction.engine->AddBytes(piece); !status.ok()) return status;
  }
  if (input.finished) {
    if (auto status = extraction.engine->Finish(); !status.ok()) return status;
  }
  return extraction.engine->Read(bytes);
}

void ExtractionRunner::Turn(const Handle& extraction, Input input) {
  std::string bytes;
  absl::Status failure;
  auto reading = MotionExtraction::Reading::kNeedsInput;
  std::unique_ptr<MotionExtraction> made;
  if (input.request.has_value()) {
    auto created = engine_.ExtractMotion(*input.request);
    failure = created.status();
    if (created.ok()) made = *std::move(created);
  } else {
    const auto result = Work(*extraction, input, &bytes);
    failure = result.status();
    if (result.ok()) reading = *result;
  }
  if (!failure.ok() && !absl::IsCancelled(failure)) {
    LogJob(EndLevel(ForCaller(failure, extraction->id)), extraction->id, extraction->tenant,
           "extraction failed", {{"error", std::string(failure.message())}});
  }
  std::optional<MotionSummary> summary;
  if (failure.ok() && reading == MotionExtraction::Reading::kDone) {
    summary = extraction->engine->Summary();
  }
  bool failed = false;
  Remains remains;
  while (true) {
    std::unique_ptr<MotionExtraction> unneeded;  // outlives the lock
    MutexLock lock(&mu_);
    if (made != nullptr) extraction->engine = std::move(made);
    const bool over = !failure.ok() || summary.has_value() || extraction->end.has_value();
    if (over && extraction->engine != nullptr) {
      // First its object goes; then the end can be seen, and its place be taken.
      unneeded = std::move(extraction->engine);
      continue;
    }
    extraction->busy = false;
    if (extraction->end.has_value()) {  // by another thread meanwhile
      live_.erase(extraction);
    } else if (!failure.ok()) {
      // With the same lock: there must be no further turn, which would have no engine to work with.
      failed = true;
      remains = SetEnd(extraction, failure);
    } else {
      extraction->needs_input = reading == MotionExtraction::Reading::kNeedsInput;
      extraction->outbox += bytes;
      extraction->summary = std::move(summary);
      Schedule(extraction);
    }
    break;
  }
  if (failed) return TellEnd(extraction, failure);
  Notify(extraction);
}

}  // namespace reenact
