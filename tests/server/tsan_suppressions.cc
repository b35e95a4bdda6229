#include "base/mutex.h"
#include "tests/support/tsan_grpc.h"

#ifdef REENACT_THREAD_SANITIZER

extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_options() { return REENACT_TSAN_GRPC_OPTIONS; }

extern "C" const char* __tsan_default_suppressions() { return REENACT_TSAN_GRPC_SUPPRESSIONS; }

#endif
