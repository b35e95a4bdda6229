// Here both ends of the connection are in one process.
#include "base/mutex.h"
#include "tests/support/tsan_grpc.h"

#ifdef REENACT_THREAD_SANITIZER

extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_options() { return REENACT_TSAN_GRPC_OPTIONS; }

extern "C" const char* __tsan_default_suppressions() {
  return REENACT_TSAN_GRPC_SUPPRESSIONS
      // A unary call's callback, between the thread that starts the call and the one that ends it.
      "race:grpc::internal::CallbackWithStatusTag\n"
      // gRPC's own counters of what a call still waits for, against their construction.
      "race_top:std::__atomic_base\n";
}

#endif
