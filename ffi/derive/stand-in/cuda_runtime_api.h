// Stands in for CUDA's header of this name: the two types that TensorRT's headers take from it.
#pragma once

typedef struct CUevent_st* cudaEvent_t;
typedef struct CUstream_st* cudaStream_t;
