// A system's gRPC, protobuf and abseil are not built with -fsanitize=thread: the sanitizer sees
// their calls into libc and into templates that are compiled here as well, but not their locks.
// Such reports are left out: accesses from inside gRPC's core, and calls into libc from modules
// that are not instrumented. Our own code is checked, on gRPC's threads as well.
#include "base/mutex.h"

#ifdef REENACT_THREAD_SANITIZER

extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1"; }

extern "C" const char* __tsan_default_suppressions() {
  return "race:libgrpc.so\n"
         // gRPC's templates are compiled with our code; the locks between their accesses are not.
         "race_top:/usr/include/grpcpp/\n"
         "race:grpc::internal::CallOp\n"
         "race:grpc::internal::InterceptorBatchMethodsImpl\n"
         "race:grpc::internal::CallbackWithSuccessTag::Set\n"
         "race:Impl::ServerCallbackReaderWriterImpl\n"
         "race:Impl::ServerCallbackUnaryImpl\n"
         "race:Impl::ServerCallbackWriterImpl\n"
         "race:Impl::~ServerCallback\n"
         "race:PreBindBacklog\n"
         "race:grpc::internal::FinishOnlyReactor\n";
}

#endif
