# Each instruction set's folder is compiled with its own flags, and only that folder. On other machines these files
# are not compiled at all; kernel_table.cc names the tables of the machine it is built for.
function(phalanx_kernel_flags folder)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/compute/kernels/${folder}/*.cc)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    # GCC 12 takes the deliberately undefined registers of its own intrinsics headers for mistakes of ours.
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS
      "${ARGN};$<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized;-Wno-maybe-uninitialized>")
  else()
    set_source_files_properties(${sources} PROPERTIES HEADER_FILE_ONLY ON)
  endif()
endfunction()

phalanx_kernel_flags(avx2 -mavx2 -mfma -mf16c -mtune=znver3)
phalanx_kernel_flags(avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c -mtune=icelake-server)

if(PHX_BUILD_BENCH)
  find_package(benchmark QUIET)
  if(benchmark_FOUND AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    add_executable(phx_kernel_bench bench/kernels/kernel_bench.cc bench/kernels/limits.cc)
    target_link_libraries(phx_kernel_bench PRIVATE phx_kernels phx_options benchmark::benchmark)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_options(phx_kernel_bench PRIVATE -Wno-uninitialized -Wno-maybe-uninitialized)
    endif()
  endif()
endif()
