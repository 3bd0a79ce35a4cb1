"""What the call path takes from outside: functions with their types, and objects."""

from __future__ import annotations

from typing import Final

PYTHON_FUNCTIONS: Final = {
    "Py_IncRef": "void (ptr)", "Py_DecRef": "void (ptr)", "PyObject_Vectorcall": "ptr (ptr, ptr, i64, ptr)",
    "PyLong_AsLongLongAndOverflow": "i64 (ptr, ptr)", "PyLong_AsUnsignedLongLong": "i64 (ptr)",
    "PyErr_Occurred": "ptr ()", "PyErr_Clear": "void ()", "PyErr_NoMemory": "ptr ()",
    "PyErr_SetString": "void (ptr, ptr)",
    "PyComplex_RealAsDouble": "double (ptr)", "PyComplex_ImagAsDouble": "double (ptr)",
    "PyObject_RichCompareBool": "i32 (ptr, ptr, i32)", "PyUnicode_Compare": "i32 (ptr, ptr)",
    "PyDict_Size": "i64 (ptr)", "PyDict_Next": "i32 (ptr, ptr, ptr, ptr)", "PyDict_GetItemWithError": "ptr (ptr, ptr)",
    "PyDict_New": "ptr ()", "PyDict_SetItem": "i32 (ptr, ptr, ptr)", "PyTuple_New": "ptr (i64)", "PyList_New": "ptr (i64)",
    "PyCapsule_New": "ptr (ptr, ptr, ptr)", "PyCapsule_SetContext": "i32 (ptr, ptr)", "PyType_GenericAlloc": "ptr (ptr, i64)",
    "PyEval_SaveThread": "ptr ()", "PyEval_RestoreThread": "void (ptr)", "PyMem_Malloc": "ptr (i64)",
    "PyMem_Free": "void (ptr)",
    "PyObject_CallNoArgs": "ptr (ptr)", "PyObject_CallFunctionObjArgs": "ptr (ptr, ...)", "PyObject_CallFunction": "ptr (ptr, ptr, ...)",
    "PyMethod_New": "ptr (ptr, ptr)", "PyObject_GC_UnTrack": "void (ptr)", "PyObject_GC_Del": "void (ptr)",
    "PyObject_ClearWeakRefs": "void (ptr)", "PyObject_Malloc": "ptr (i64)", "PyObject_Free": "void (ptr)",
    "PyObject_Init": "ptr (ptr, ptr)",
}  # fmt: skip
PYTHON_OBJECTS: Final = (
    "_Py_NoneStruct", "_Py_TrueStruct", "_Py_FalseStruct", "PyLong_Type", "PyFloat_Type", "PyComplex_Type", "PyTuple_Type",
    "PyList_Type", "PyDict_Type", "PyUnicode_Type", "PyCapsule_Type", "PyExc_RuntimeError",
)  # fmt: skip
FDL_FUNCTIONS: Final = {
    "fdl_take": "ptr (i64)", "fdl_give": "void (ptr, i64)", "fdl_call": "i32 (ptr, ptr, ptr, i32)",
    "fdl_block_free": "void (ptr)", "fdl_block_name": "ptr ()",
    "numpy_new": "ptr (ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)",
}  # fmt: skip
OTHER_OBJECTS: Final = ("numpy_array_type", "tuple_new", "block_type")
