from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

admin.site.site_header = "Mixture of experts"
admin.site.site_title = "Mixture of experts"
admin.site.index_title = "Experts, rules and model servers"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", include("gateway.urls")),
]

handler400 = "gateway.errorpages.bad_request"
handler403 = "gateway.errorpages.permission_denied"
handler404 = "gateway.errorpages.page_not_found"
handler500 = "gateway.errorpages.server_error"
