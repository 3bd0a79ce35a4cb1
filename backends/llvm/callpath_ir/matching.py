"""Arguments to leaves: `@bind` and `@match`."""

from __future__ import annotations

from .. import layout as at
from . import fields as t
from . import small
from .fields import entry, load, part, self_


def bind(layout: at.Layout) -> str:
    """`@bind`: positional and keyword arguments into the first registers, keywords in the entry's order."""
    return f"""
define internal i1 @bind(ptr %e, ptr %args, i64 %nargs, ptr %kwnames, ptr %registers) {{
entry:
{entry("positional", "keywords", "names")}
  %same = icmp eq i64 %nargs, %positional
  br i1 %same, label %named, label %no
named:
  %bare = icmp eq ptr %kwnames, null
  br i1 %bare, label %count, label %size
size:
{load("given", "i64", "%kwnames", at.SIZE)}
  br label %count
count:
  %kw = phi i64 [ 0, %named ], [ %given, %size ]
  %match = icmp eq i64 %kw, %keywords
  br i1 %match, label %copy, label %no
copy:
  %total = add i64 %nargs, %kw
  %nothing = icmp eq i64 %total, 0
  br i1 %nothing, label %order, label %copy_loop
copy_loop:
  %i = phi i64 [ 0, %copy ], [ %i1, %copy_loop ]
  %from = getelementptr ptr, ptr %args, i64 %i
  %to = getelementptr ptr, ptr %registers, i64 %i
  %value = load ptr, ptr %from
  store ptr %value, ptr %to
  %i1 = add i64 %i, 1
  %more = icmp ult i64 %i1, %total
  br i1 %more, label %copy_loop, label %order
order:
  %none = icmp eq i64 %kw, 0
  br i1 %none, label %yes, label %items
items:
  %given_names = getelementptr i8, ptr %kwnames, i64 {layout.tuple_items}
  %named_args = getelementptr ptr, ptr %args, i64 %nargs
  %named_registers = getelementptr ptr, ptr %registers, i64 %nargs
  br label %each
each:
  %k = phi i64 [ 0, %items ], [ %k1, %next ]
  %want.at = getelementptr ptr, ptr %names, i64 %k
  %want = load ptr, ptr %want.at
  %first.at = getelementptr ptr, ptr %given_names, i64 %k
  %first = load ptr, ptr %first.at
  %direct = icmp eq ptr %first, %want
  br i1 %direct, label %found, label %search
search:
  %j = phi i64 [ 0, %each ], [ %j1, %other ]
  %end = icmp eq i64 %j, %kw
  br i1 %end, label %no, label %try
try:
  %have.at = getelementptr ptr, ptr %given_names, i64 %j
  %have = load ptr, ptr %have.at
  %identical = icmp eq ptr %have, %want
  br i1 %identical, label %found, label %compare
compare:
  %c = call i32 @PyUnicode_Compare(ptr %have, ptr %want)
  %equal = icmp eq i32 %c, 0
  br i1 %equal, label %found, label %other
other:
  %j1 = add i64 %j, 1
  br label %search
found:
  %place = phi i64 [ %k, %each ], [ %j, %try ], [ %j, %compare ]
  %arg.at = getelementptr ptr, ptr %named_args, i64 %place
  %arg = load ptr, ptr %arg.at
  %register = getelementptr ptr, ptr %named_registers, i64 %k
  store ptr %arg, ptr %register
  br label %next
next:
  %k1 = add i64 %k, 1
  %again = icmp ult i64 %k1, %kw
  br i1 %again, label %each, label %yes
yes:
  ret i1 1
no:
  ret i1 0
}}
"""


def _exact(name: str, type_symbol: str, then: str) -> str:
    """Goes on at `then` when the object of the step is of exactly this type, else to `%no`."""
    return f"""{load(f"{name}.type", "ptr", "%object", at.TYPE)}
  %{name}.exact = icmp eq ptr %{name}.type, @{type_symbol}
  br i1 %{name}.exact, label %{then}, label %no"""


def _scalar(name: str, kind: str, value: str) -> str:
    """Stores a scalar's value in the next scalar cell, and its address in the step's slot."""
    return f"""  %{name}.cell = getelementptr i8, ptr %scalars, i64 %cell
  store {kind} {value}, ptr %{name}.cell
  %{name}.slot = getelementptr ptr, ptr %buffers, i64 %slot
  store ptr %{name}.cell, ptr %{name}.slot
  br label %scalar_done"""


def match(layout: at.Layout) -> str:
    """`@match`: the entry's steps over the registers; fills the input slots, the leaves and the scalar cells."""
    return f"""
define internal i1 @match(ptr %self, ptr %e, ptr %mem) {{
entry:
  %overflow = alloca i32
  %position = alloca i64
  %key.cell = alloca ptr
  %value.cell = alloca ptr
{self_("array_type", "data", "weak", "consumed")}
{entry("steps", "step_rows")}
{part("registers", "at_registers")}
{part("buffers", "at_buffers")}
{part("leaves", "at_leaves")}
{part("scalars", "at_scalars")}
  %last = getelementptr i8, ptr %step_rows, i64 %steps
  br label %loop
loop:
  %row = phi ptr [ %step_rows, %entry ], [ %row1, %next ]
  %cell = phi i64 [ 0, %entry ], [ %cell.next, %next ]
  %end = icmp eq ptr %row, %last
  br i1 %end, label %yes, label %step
step:
  %kind = load i64, ptr %row
{load("source", "i64", "%row", 8)}
{load("slot", "i64", "%row", 16)}
{load("n", "i64", "%row", 24)}
{load("what", "ptr", "%row", 32)}
{load("table", "ptr", "%row", 40)}
  %object.at = getelementptr ptr, ptr %registers, i64 %source
  %object = load ptr, ptr %object.at
  %children = getelementptr ptr, ptr %registers, i64 %slot
  %is_array = icmp eq i64 %kind, {t.ARRAY}
  br i1 %is_array, label %fdl_array, label %other
other:
  switch i64 %kind, label %no [ i64 {t.NUMPY}, label %numpy
    i64 {t.FLOAT_}, label %float i64 {t.INT}, label %int i64 {t.BOOL}, label %bool i64 {t.COMPLEX}, label %complex
    i64 {t.NONE}, label %none i64 {t.TUPLE}, label %tuple i64 {t.LIST}, label %list i64 {t.DICT}, label %dict
    i64 {t.SAME}, label %same i64 {t.EQUAL}, label %equal i64 {t.BITS}, label %bits ]

fdl_array:
{load("t", "ptr", "%object", at.TYPE)}
  %t.good = icmp eq ptr %t, %array_type
  br i1 %t.good, label %slots, label %no
slots:
{load("weakness", "ptr", "%row", 48)}
  %nd.at = getelementptr i8, ptr %object, i64 %data
  %nd = load ptr, ptr %nd.at
  %w.at = getelementptr i8, ptr %object, i64 %weak
  %w = load ptr, ptr %w.at
  %c.at = getelementptr i8, ptr %object, i64 %consumed
  %c = load ptr, ptr %c.at
  %nd.some = icmp ne ptr %nd, null
  %w.good = icmp eq ptr %w, %weakness
  %c.good = icmp eq ptr %c, @_Py_NoneStruct
  %g0 = and i1 %nd.some, %w.good
  %g1 = and i1 %g0, %c.good
  br i1 %g1, label %inner, label %no
inner:
{load("nd.type", "ptr", "%nd", at.TYPE)}
  %nd.exact = icmp eq ptr %nd.type, @numpy_array_type
  br i1 %nd.exact, label %storage, label %inside
inside:
  %is_small = call i1 @is_small(ptr %nd)
  br i1 %is_small, label %small_storage, label %no
small_storage:
{load("small.dtype", "ptr", "%nd", small.DTYPE)}
{load("small.rank", "i32", "%nd", small.RANK)}
  %small.dims = getelementptr i8, ptr %nd, i64 {small.DIMS}
  %small.elements = getelementptr i8, ptr %nd, i64 {small.ELEMENTS}
  br label %typed

numpy:
{_exact("a", "numpy_array_type", "flags")}
flags:
{load("f", "i32", "%object", at.ARRAY_FLAGS)}
  %f.both = and i32 %f, {at.C_CONTIGUOUS | at.ALIGNED}
  %f.good = icmp eq i32 %f.both, {at.C_CONTIGUOUS | at.ALIGNED}
  br i1 %f.good, label %storage, label %no

storage:
  %array = phi ptr [ %nd, %inner ], [ %object, %flags ]
{load("array.dtype", "ptr", "%array", at.ARRAY_DTYPE)}
{load("array.rank", "i32", "%array", at.ARRAY_NDIM)}
{load("array.dims", "ptr", "%array", at.ARRAY_DIMS)}
{load("array.elements", "ptr", "%array", at.ARRAY_DATA)}
  br label %typed
typed:
  %holder = phi ptr [ %array, %storage ], [ %nd, %small_storage ]
  %dtype = phi ptr [ %array.dtype, %storage ], [ %small.dtype, %small_storage ]
  %ndim = phi i32 [ %array.rank, %storage ], [ %small.rank, %small_storage ]
  %dims = phi ptr [ %array.dims, %storage ], [ %small.dims, %small_storage ]
  %pointer = phi ptr [ %array.elements, %storage ], [ %small.elements, %small_storage ]
  %dtype.same = icmp eq ptr %dtype, %what
  br i1 %dtype.same, label %rank, label %alike
alike:
; Another descriptor object of the same type: same number, same byte order.
{load("number", "i32", "%dtype", at.DTYPE_NUMBER)}
{load("number1", "i32", "%what", at.DTYPE_NUMBER)}
{load("order", "i8", "%dtype", at.DTYPE_ORDER)}
{load("order1", "i8", "%what", at.DTYPE_ORDER)}
  %number.same = icmp eq i32 %number, %number1
  %order.same = icmp eq i8 %order, %order1
  %dtype.equal = and i1 %number.same, %order.same
  br i1 %dtype.equal, label %rank, label %no
rank:
  %n32 = trunc i64 %n to i32
  %ndim.good = icmp eq i32 %ndim, %n32
  br i1 %ndim.good, label %shape, label %no
shape:
  br label %axis
axis:
  %a = phi i64 [ 0, %shape ], [ %a1, %axis_next ]
  %a.end = icmp eq i64 %a, %n
  br i1 %a.end, label %leaf, label %axis_check
axis_check:
  %have.at = getelementptr i64, ptr %dims, i64 %a
  %want.at = getelementptr i64, ptr %table, i64 %a
  %have = load i64, ptr %have.at
  %want = load i64, ptr %want.at
  %axis.good = icmp eq i64 %have, %want
  br i1 %axis.good, label %axis_next, label %no
axis_next:
  %a1 = add i64 %a, 1
  br label %axis
leaf:
{load("place", "i64", "%row", 56)}
  %target = getelementptr ptr, ptr %buffers, i64 %slot
  store ptr %pointer, ptr %target
  %leaf.at = getelementptr ptr, ptr %leaves, i64 %place
  store ptr %holder, ptr %leaf.at
  br label %next

float:
{_exact("fl", "PyFloat_Type", "float_value")}
float_value:
{load("fv", "double", "%object", at.FLOAT)}
  %fl.wide = icmp eq i64 %n, 8
  br i1 %fl.wide, label %float_wide, label %float_narrow
float_wide:
{_scalar("fw", "double", "%fv")}
float_narrow:
  %narrow = fptrunc double %fv to float
{_scalar("fn", "float", "%narrow")}

int:
{_exact("in", "PyLong_Type", "int_value")}
int_value:
  %iv = call i64 @PyLong_AsLongLongAndOverflow(ptr %object, ptr %overflow)
  %beyond = load i32, ptr %overflow
  %low = ptrtoint ptr %what to i64
  %high = ptrtoint ptr %table to i64
  %from_low = icmp sge i64 %iv, %low
  %to_high = icmp sle i64 %iv, %high
  %within = and i1 %from_low, %to_high
  %is64 = icmp eq i32 %beyond, 0
  %fits64 = and i1 %is64, %within
  %i32v = trunc i64 %iv to i32
  %back = sext i32 %i32v to i64
  %small = icmp eq i64 %back, %iv
  %fits32 = and i1 %fits64, %small
  switch i64 %n, label %int_unsigned [ i64 4, label %int_narrow i64 8, label %int_wide ]
int_narrow:
  br i1 %fits32, label %int_narrow_store, label %no
int_narrow_store:
{_scalar("i4", "i32", "%i32v")}
int_wide:
  %large = xor i1 %fits32, true
  %only64 = and i1 %large, %fits64
  br i1 %only64, label %int_wide_store, label %no
int_wide_store:
{_scalar("i8", "i64", "%iv")}
int_unsigned:
  %above = icmp sgt i32 %beyond, 0
  br i1 %above, label %int_unsigned_value, label %no
int_unsigned_value:
  %uv = call i64 @PyLong_AsUnsignedLongLong(ptr %object)
  %ue = call ptr @PyErr_Occurred()
  %ugood = icmp eq ptr %ue, null
  br i1 %ugood, label %int_unsigned_store, label %clear
int_unsigned_store:
{_scalar("u8", "i64", "%uv")}

bool:
  %is_true = icmp eq ptr %object, @_Py_TrueStruct
  %is_false = icmp eq ptr %object, @_Py_FalseStruct
  %is_bool = or i1 %is_true, %is_false
  br i1 %is_bool, label %bool_store, label %no
bool_store:
  %bv = zext i1 %is_true to i8
{_scalar("b1", "i8", "%bv")}

complex:
{_exact("cx", "PyComplex_Type", "complex_value")}
complex_value:
  %re = call double @PyComplex_RealAsDouble(ptr %object)
  %im = call double @PyComplex_ImagAsDouble(ptr %object)
  %cx.wide = icmp eq i64 %n, 16
  %re.cell = getelementptr i8, ptr %scalars, i64 %cell
  br i1 %cx.wide, label %complex_wide, label %complex_narrow
complex_wide:
  %im.cell = getelementptr i8, ptr %re.cell, i64 8
  store double %im, ptr %im.cell
{_scalar("cw", "double", "%re")}
complex_narrow:
  %re4 = fptrunc double %re to float
  %im4 = fptrunc double %im to float
  %im4.cell = getelementptr i8, ptr %re.cell, i64 4
  store float %im4, ptr %im4.cell
{_scalar("cn", "float", "%re4")}

scalar_done:
  %cell1 = add i64 %cell, 16
  br label %next

none:
  %is_none = icmp eq ptr %object, @_Py_NoneStruct
  br i1 %is_none, label %next, label %no

tuple:
{load("tt", "ptr", "%object", at.TYPE)}
  %tt.good = icmp eq ptr %tt, %what
  br i1 %tt.good, label %tuple_size, label %no
tuple_size:
{load("ts", "i64", "%object", at.SIZE)}
  %tuple_items = getelementptr i8, ptr %object, i64 {layout.tuple_items}
  %ts.good = icmp eq i64 %ts, %n
  br i1 %ts.good, label %children_loop, label %no
list:
{_exact("li", "PyList_Type", "list_size")}
list_size:
{load("ls", "i64", "%object", at.SIZE)}
{load("list_items", "ptr", "%object", at.LIST_ITEMS)}
  %ls.good = icmp eq i64 %ls, %n
  br i1 %ls.good, label %children_loop, label %no
children_loop:
  %items = phi ptr [ %tuple_items, %tuple_size ], [ %list_items, %list_size ], [ %items, %child ]
  %ch = phi i64 [ 0, %tuple_size ], [ 0, %list_size ], [ %ch1, %child ]
  %ch.end = icmp eq i64 %ch, %n
  br i1 %ch.end, label %next, label %child
child:
  %item.at = getelementptr ptr, ptr %items, i64 %ch
  %item = load ptr, ptr %item.at
  %child.at = getelementptr ptr, ptr %children, i64 %ch
  store ptr %item, ptr %child.at
  %ch1 = add i64 %ch, 1
  br label %children_loop

dict:
{_exact("di", "PyDict_Type", "dict_size")}
dict_size:
  %ds = call i64 @PyDict_Size(ptr %object)
  %ds.good = icmp eq i64 %ds, %n
  store i64 0, ptr %position
  br i1 %ds.good, label %dict_walk, label %no
dict_walk:
; In the expected order, with identical keys: the usual case.
  %d = phi i64 [ 0, %dict_size ], [ %d1, %dict_same ]
  %some = call i32 @PyDict_Next(ptr %object, ptr %position, ptr %key.cell, ptr %value.cell)
  %d.end = icmp eq i32 %some, 0
  br i1 %d.end, label %next, label %dict_item
dict_item:
  %key = load ptr, ptr %key.cell
  %key.want.at = getelementptr ptr, ptr %table, i64 %d
  %key.want = load ptr, ptr %key.want.at
  %key.same = icmp eq ptr %key, %key.want
  br i1 %key.same, label %dict_same, label %dict_keys
dict_same:
  %dv = load ptr, ptr %value.cell
  %dv.at = getelementptr ptr, ptr %children, i64 %d
  store ptr %dv, ptr %dv.at
  %d1 = add i64 %d, 1
  br label %dict_walk
dict_keys:
; Any order. Keys that are exactly str have no `__eq__` written in Python, so the look-ups run no Python code.
  store i64 0, ptr %position
  br label %dict_key
dict_key:
  %some2 = call i32 @PyDict_Next(ptr %object, ptr %position, ptr %key.cell, ptr null)
  %keys.end = icmp eq i32 %some2, 0
  br i1 %keys.end, label %dict_find, label %dict_key_type
dict_key_type:
  %key2 = load ptr, ptr %key.cell
{load("key2.type", "ptr", "%key2", at.TYPE)}
  %key2.str = icmp eq ptr %key2.type, @PyUnicode_Type
  br i1 %key2.str, label %dict_key, label %no
dict_find:
  %f2 = phi i64 [ 0, %dict_key ], [ %f3, %dict_found ]
  %f2.end = icmp eq i64 %f2, %n
  br i1 %f2.end, label %next, label %dict_get
dict_get:
  %key3.at = getelementptr ptr, ptr %table, i64 %f2
  %key3 = load ptr, ptr %key3.at
  %got = call ptr @PyDict_GetItemWithError(ptr %object, ptr %key3)
  %got.none = icmp eq ptr %got, null
  br i1 %got.none, label %clear, label %dict_found
dict_found:
  %got.at = getelementptr ptr, ptr %children, i64 %f2
  store ptr %got, ptr %got.at
  %f3 = add i64 %f2, 1
  br label %dict_find

same:
  %identical = icmp eq ptr %object, %what
  br i1 %identical, label %next, label %no
equal:
  %identical2 = icmp eq ptr %object, %what
  br i1 %identical2, label %next, label %equal_type
equal_type:
{load("et", "ptr", "%object", at.TYPE)}
{load("et1", "ptr", "%what", at.TYPE)}
  %et.same = icmp eq ptr %et, %et1
  br i1 %et.same, label %equal_value, label %no
equal_value:
  %eq = call i32 @PyObject_RichCompareBool(ptr %object, ptr %what, i32 2)
  %eq.yes = icmp eq i32 %eq, 1
  br i1 %eq.yes, label %next, label %clear
bits:
{_exact("bi", "PyFloat_Type", "bits_value")}
bits_value:
{load("bits.have", "i64", "%object", at.FLOAT)}
  %bits.same = icmp eq i64 %bits.have, %n
  br i1 %bits.same, label %next, label %no

next:
  %cell.next = phi i64 [ %cell1, %scalar_done ], {", ".join(f"[ %cell, %{b} ]" for b in _NEXT_FROM)}
  %row1 = getelementptr i8, ptr %row, i64 {t.ROW}
  br label %loop
yes:
  ret i1 1
clear:
  call void @PyErr_Clear()
  br label %no
no:
  ret i1 0
}}
"""


_NEXT_FROM = ("leaf", "none", "children_loop", "dict_walk", "dict_find", "same", "equal", "equal_value", "bits_value")
