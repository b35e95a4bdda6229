// See tests/server/tsan_suppressions.cc; here both ends of the connection are in one process.
#include "base/mutex.h"

#ifdef REENACT_THREAD_SANITIZER

extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1"; }

extern "C" const char* __tsan_default_suppressions() {
  return "race:libgrpc.so\n"
         // gRPC's own counters of what a call still waits for, against their construction.
         "race_top:std::__atomic_base\n"
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
