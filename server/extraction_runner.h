// Carries ExtractMotion calls from driving media to motion template, beside the jobs.
//
// Extractions take turns of a few frames each on threads of their own, of a lower priority than the
// jobs' threads, so that many small files do not wait for a long one and no job waits for an
// extraction. What came in and is not read, and what is ready and not sent, is bounded as it is of
// a job. An extraction lives and ends with its call.
//
// Thread-safe. No public method but AwaitIdle and the destructor blocks.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "pipeline/engine.h"
#include "reenact/v1/reenact.pb.h"
#include "server/clock.h"
#include "server/config.h"
#include "server/metrics.h"

namespace reenact {

class ExtractionRunner {
 public:
  // Told when there may be something new to send or room for input, from any thread, with no lock
  // held.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnExtractionChanged() = 0;
  };

  // One extraction; a handle for the methods below.
  class Extraction;

  // `num_threads` 0: the caller takes the turns by RunTurn(). The references must outlive the
  // runner.
  ExtractionRunner(const ServerConfig& config, Engine& engine, Clock& clock, Metrics& metrics,
                   int num_threads);
  // Ends what is left with kUnavailable. Blocks for as long as the engine's calls that are running.
  ~ExtractionRunner();

  // kResourceExhausted with RetryInfo: full. kUnavailable: none are admitted any more. The
  // extraction expires at `deadline` or after ServerConfig::max_job_duration.
  absl::StatusOr<std::shared_ptr<Extraction>> Admit(MotionRequest request,
                                                    const std::string& tenant, absl::Time deadline,
                                                    std::weak_ptr<Listener> listener)
      ABSL_LOCKS_EXCLUDED(mu_);

  void PushInput(const std::shared_ptr<Extraction>& extraction, std::string bytes)
      ABSL_LOCKS_EXCLUDED(mu_);
  void FinishInput(const std::shared_ptr<Extraction>& extraction) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether there is room for more.
  bool WantsInput(const std::shared_ptr<Extraction>& extraction) const ABSL_LOCKS_EXCLUDED(mu_);

  enum class Next { kNothing, kAnswer, kEnded };
  struct Answer {
    Next next = Next::kNothing;
    v1::ExtractMotionResponse response;  // kAnswer
    absl::Status status;                 // kEnded
  };
  // The next thing to send. Once the summary has been taken the extraction has succeeded and
  // kEnded follows; after another end everything unsent is gone. An extraction that succeeded or
  // that the engine failed has left no object of the engine's and takes no place any more when its
  // end can be seen here.
  Answer NextAnswer(const std::shared_ptr<Extraction>& extraction) ABSL_LOCKS_EXCLUDED(mu_);

  // Ends the extraction with `status`; a call of the engine that is running for it returns soon. No
  // effect if it has ended.
  void End(const std::shared_ptr<Extraction>& extraction, const absl::Status& status)
      ABSL_LOCKS_EXCLUDED(mu_);

  // From now on Admit() returns kUnavailable.
  void StopAdmitting() ABSL_LOCKS_EXCLUDED(mu_);
  // End for every extraction.
  void EndAll(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until every extraction has ended. False: `deadline` came first.
  bool AwaitIdle(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);

  // Takes one turn on the calling thread. False: there was none to take.
  bool RunTurn() ABSL_LOCKS_EXCLUDED(mu_);
  // Ends extractions whose time is over.
  void EndOverdue() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using Handle = std::shared_ptr<Extraction>;

  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // What a turn works on: the request, or else what has come for the engine made of it.
  struct Input {
    std::optional<MotionRequest> request;
    std::deque<std::string> pieces;
    bool finished = false;  // nothing follows `pieces`
  };
  Input TakeInput(Extraction& extraction) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What is left of an extraction that ends: to be let go of with no lock held.
  struct Remains {
    std::unique_ptr<MotionExtraction> engine;
    std::deque<std::string> inbox;
    std::string outbox;
  };
  // Ends an extraction that has not ended. TellEnd() must follow, with no lock held.
  Remains SetEnd(const Handle& extraction, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TellEnd(const Handle& extraction, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  // One call of the engine and what comes after it.
  void Turn(const Handle& extraction, Input input) ABSL_LOCKS_EXCLUDED(mu_);
  // What the engine makes of the input.
  absl::StatusOr<MotionExtraction::Reading> Work(Extraction& extraction, const Input& input,
                                                 std::string* bytes) ABSL_LOCKS_EXCLUDED(mu_);
  // Asks for a turn if there is something to do.
  void Schedule(const Handle& extraction) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasWork(const Extraction& extraction) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Time DueTime(const Extraction& extraction) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Time NextDueTime() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void Notify(const Handle& extraction);

  const ServerConfig config_;
  Engine& engine_;
  Clock& clock_;
  Metrics& metrics_;

  mutable Mutex mu_;
  bool admitting_ ABSL_GUARDED_BY(mu_) = true;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::set<Handle> live_ ABSL_GUARDED_BY(mu_);
  // Each is in it at most once.
  std::deque<Handle> turns_ ABSL_GUARDED_BY(mu_);

  std::vector<std::thread> threads_;  // last: they use what is above
};

}  // namespace reenact
