find_package(GTest REQUIRED)

# The tests of what has threads of its own: scripts/check-tsan.sh builds and runs these alone.
add_custom_target(threaded_tests)

# reenact_test(NAME LABEL SOURCES ... LIBRARIES ...): a googletest program; each case is a ctest test "NAME.Suite.Case".
# LABEL is one of unit, golden, e2e, fuzz, gpu.
function(reenact_test name label)
  cmake_parse_arguments(arg "TORCH" "TIMEOUT" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES} GTest::gmock_main reenact_warnings)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${name} PRIVATE REENACT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(name MATCHES "^(server|client|output)_")
    add_dependencies(threaded_tests ${name})
  endif()
  if(arg_TORCH)
    reenact_use_torch(${name})
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  reenact_discover_tests(${name} PROPERTIES LABELS ${label} TIMEOUT ${arg_TIMEOUT})
endfunction()

# Adds every case of a googletest program to ctest.
function(reenact_discover_tests name)
  # PRE_TEST: asking the program for its cases waits until ctest runs.
  # A case that skips itself prints "FILE:LINE: Skipped"; one whose suite failed to set up is listed as skipped too, but
  # has failed.
  gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
                       ${ARGN} SKIP_REGULAR_EXPRESSION "[0-9]: Skipped")
endfunction()
include(GoogleTest)
